//! The way in: calls by the number of their operation, and objects by the name of their kind.

use std::ops::Range;
use std::sync::Arc;

use ruvector_attention::context::{Observation, Observer};
use ruvector_attention::simd::Level;
use ruvector_attention::{Code, Context, Error, Result};

use crate::call::{Call, Slots, object_ids};
use crate::object::{self, Object};
use crate::operations::{OPERATIONS, Operation, make};
use crate::options::shown;
use crate::parts::{Outside, Parts};

/// Runs the operation of this number.
pub fn call(
    operation: u32,
    header: &[f64],
    options: Option<&str>,
    slots: Slots<'_>,
    observer: Option<&dyn Observer>,
) -> Result<()> {
    let observation = observer.map(Observation::new);
    let context = observed_by(observation.as_ref());
    run(context, find_operation(operation)?, header, find_objects(header)?, options, slots)
}

/// Words of 32 bits in all arrays of a call with which [`call_in_parts`] is worth its time and can count in 32 bits.
pub const WORDS_IN_PARTS: Range<u64> = 1 << 20..1 << 30;

/// Runs an operation on arrays outside of this memory, of which one part is here at a time. `None`, and nothing has been
/// written, for an operation that needs all of them at once; also for a call with a fault, which [`call`] then reports.
pub fn call_in_parts(
    operation: u32,
    header: &[f64],
    options: Option<&str>,
    integers: [Option<&[i32]>; 2],
    outside: &dyn Outside,
    observer: Option<&dyn Observer>,
) -> Option<Result<()>> {
    let &(name, operation) = OPERATIONS.get(operation as usize)?;
    let has_values = match name {
        "scaledDotProductAttention" | "flashAttention" => true,
        "attentionWeights" => false,
        _ => return None,
    };
    // Heads come last in layout `blhd`, so that none of them lies together.
    if options.is_some_and(|json| json.as_bytes().windows(4).any(|text| text == b"blhd")) {
        return None;
    }
    let parts = Parts::new(header, integers, has_values, outside.lengths())?;
    let observation = observer.map(Observation::new);
    let context = observed_by(observation.as_ref());
    Some(parts.run(outside, &mut |section, header, slots| {
        run(Context { section: Some(section), ..context }, operation, header, Vec::new(), options, slots)
    }))
}

/// A call whose objects are at hand, so that any thread can run it.
pub struct Pending {
    operation: Operation,
    header: Vec<f64>,
    objects: Vec<Arc<dyn Object>>,
    options: Option<String>,
}

impl Pending {
    /// Finds the objects of the call, which are this thread's.
    pub fn new(operation: u32, header: &[f64], options: Option<String>) -> Result<Self> {
        let (operation, objects) = (find_operation(operation)?, find_objects(header)?);
        Ok(Self { operation, header: header.to_vec(), objects, options })
    }

    /// Runs it, once.
    pub fn run(&mut self, observer: &dyn Observer, slots: Slots<'_>) -> Result<()> {
        let objects = std::mem::take(&mut self.objects);
        let observation = Observation::new(observer);
        let context = observed_by(Some(&observation));
        run(context, self.operation, &self.header, objects, self.options.as_deref(), slots)
    }
}

fn find_operation(number: u32) -> Result<Operation> {
    let found = OPERATIONS.get(number as usize).map(|&(_, operation)| operation);
    found.ok_or_else(|| Error::new(Code::Internal, "operation", "a number in the table", number))
}

/// The context of a call before its header is read.
fn observed_by<'a>(observer: Option<&'a Observation<'a>>) -> Context<'a> {
    Context { observer, ..Context::new(Level::current(), 1) }
}

fn run(
    context: Context<'_>,
    operation: Operation,
    header: &[f64],
    objects: Vec<Arc<dyn Object>>,
    options: Option<&str>,
    slots: Slots<'_>,
) -> Result<()> {
    let mut call = Call::new(context, header, objects, options, slots)?;
    operation(&mut call).map_err(|error| shown(error, options))
}

/// The names of the operations in the order of their numbers, separated by commas.
pub fn operations() -> String {
    let mut names = String::new();
    for (name, _) in OPERATIONS {
        names.push_str(if names.is_empty() { "" } else { "," });
        names.push_str(name);
    }
    names
}

/// Makes an object of a kind from its configuration, a JSON object, and gives its number.
///
/// # Errors
/// `OPTION` for a configuration that does not fit, `MEMORY`.
pub fn create(kind: &str, config: &str, integers: [Option<&[i32]>; 2]) -> Result<u32> {
    make(kind, config, integers).map(object::keep).map_err(|error| shown(error, Some(config)))
}

fn find_objects(header: &[f64]) -> Result<Vec<Arc<dyn Object>>> {
    object_ids(header)?.map(object::find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{describe, free, hold, load_state, read_state, state_entries};

    #[test]
    fn objects_are_known_by_number_until_they_are_freed() {
        let make = |seed: u32| {
            let config = format!(r#"{{"numHeads":1,"headDim":2,"seed":{seed}}}"#);
            create("self", &config, [None; 2]).unwrap()
        };
        let (first, second) = (make(1), make(2));
        assert_ne!(first, second);
        let mut weight = [0.0; 12];
        read_state(first, 0, &mut weight).unwrap();
        load_state(second, &state_entries(second).unwrap(), &[&weight, &[1.0; 6], &[2.0; 4], &[3.0; 2]], "".into())
            .unwrap();
        let mut read = [0.0; 12];
        read_state(second, 0, &mut read).unwrap();
        assert_eq!(read, weight);
        assert!(load_state(second, "[]", &[], "".into()).is_err());
        assert!(describe(second).unwrap().contains("\"seed\":2"));
        let held = hold(second).unwrap();
        load_state(second, &state_entries(first).unwrap(), &[&[0.0; 12], &[1.0; 6], &[2.0; 4], &[3.0; 2]], "".into())
            .unwrap();
        read_state(held, 0, &mut read).unwrap();
        assert_eq!(read, weight);
        free(held);
        free(second);
        free(second);
        assert_eq!(describe(second).unwrap_err().code, Code::Internal);
        assert_eq!(make(3), second);
        assert_eq!(create("other", "{}", [None; 2]).unwrap_err().code, Code::Internal);
    }

    #[test]
    fn every_operation_has_a_name_of_its_own() {
        let names = operations();
        let mut names: Vec<&str> = names.split(',').collect();
        assert_eq!(names.len(), OPERATIONS.len());
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), OPERATIONS.len());
        assert_eq!(
            call(u32::MAX, &[1.0, 0.0, 0.0, 1.0, 0.0], None, Slots::default(), None).unwrap_err().code,
            Code::Internal
        );
    }
}
