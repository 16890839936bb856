//! The entry points: calls by operation number, and objects by the name of their kind.

use std::sync::Arc;

use ruvector_attention::context::{Observation, Observer};
use ruvector_attention::simd::Level;
use ruvector_attention::simd::amx::TileUnit;
use ruvector_attention::{Code, Context, Error, Result};

use crate::call::{Call, Outside, Start};
use crate::memory::{ArrayMut, CallMemory, Element, Results};
use crate::object::{self, Object};
use crate::operations::{OPERATIONS, Operation};
use crate::options::shown;

/// Runs the call described in `memory`: the operation with this number, with `options`, a JSON object. `out` is the
/// caller's memory for the first result.
pub fn call<'a>(
    operation: u32,
    memory: &'a mut CallMemory,
    options: Option<&'a str>,
    outside: Outside<'a>,
    out: Option<&'a mut [f32]>,
    observer: Option<&'a dyn Observer>,
) -> Result<()> {
    let start = Start::new(&memory.header)?;
    let (ids, objects) = (start.ids(), start.objects()?);
    let observation = observer.map(Observation::new);
    let context = observed_by(observation.as_ref());
    let done = run(context, find_operation(operation)?, memory, options, &objects, outside, out);
    object::weigh(ids);
    done
}

/// Returns the element types, in order, of a call's arrays outside of its memory.
pub fn elements_outside(operation: u32, memory: &CallMemory) -> Result<Vec<Element>> {
    let mut slots = Start::new(&memory.header)?.slots();
    let mut elements = Vec::new();
    for input in find_operation(operation)?.inputs {
        elements.extend(slots.next(input.name)?.filter(|slot| slot.place < 0.0).map(|slot| slot.element));
    }
    Ok(elements)
}

/// Returns the cost, in scalar operations, of a call that can be split into parts, or 0 if it cannot. Only the shapes
/// of the inputs are read.
pub fn divisible(operation: u32, memory: &mut CallMemory, options: Option<&str>) -> Result<u64> {
    /// Rejects every result.
    struct None;
    impl Results for None {
        fn allocate(&self, _: Element, _: usize) -> Option<ArrayMut<'_>> {
            Option::None
        }
    }
    let operation = find_operation(operation)?;
    let Some(divisible) = operation.divisible else { return Ok(0) };
    let objects = Start::new(&memory.header)?.objects()?;
    let outside = Outside { arrays: &[], results: &None };
    divisible(&mut Call::new(observed_by(Option::None), operation, memory, options, &objects, outside, Option::None)?)
}

/// A call that holds its objects, so that any thread can run it.
pub struct Pending {
    operation: &'static Operation,
    memory: Box<CallMemory>,
    objects: Vec<Arc<dyn Object>>,
    options: Option<String>,
}

impl Pending {
    /// Prepares a call on objects of this thread.
    pub fn new(operation: u32, memory: Box<CallMemory>, options: Option<String>) -> Result<Self> {
        let (operation, objects) = (find_operation(operation)?, Start::new(&memory.header)?.objects()?);
        Ok(Self { operation, memory, objects, options })
    }

    /// Runs the call; it can run only once.
    pub fn run(&mut self, observer: &dyn Observer, outside: Outside<'_>) -> Result<()> {
        let objects = std::mem::take(&mut self.objects);
        let (memory, options) = (&mut self.memory, self.options.as_deref());
        let observation = Observation::new(observer);
        run(observed_by(Some(&observation)), self.operation, memory, options, &objects, outside, None)
    }

    /// Returns the memory of the call, including the results once it has run.
    pub fn memory(&self) -> &CallMemory {
        &self.memory
    }
}

fn find_operation(number: u32) -> Result<&'static Operation> {
    let found = OPERATIONS.get(number as usize);
    found.ok_or_else(|| Error::new(Code::Internal, "operation", "a number in the table", number))
}

/// Returns the context of a call before its header is read.
pub(crate) fn observed_by<'a>(observer: Option<&'a Observation<'a>>) -> Context<'a> {
    Context { observer, tile_unit: TileUnit::current(), ..Context::new(Level::current(), 1) }
}

pub(crate) fn run<'a>(
    context: Context<'a>,
    operation: &'static Operation,
    memory: &'a mut CallMemory,
    options: Option<&'a str>,
    objects: &'a [Arc<dyn Object>],
    outside: Outside<'a>,
    out: Option<&'a mut [f32]>,
) -> Result<()> {
    let mut call = Call::new(context, operation, memory, options, objects, outside, out)?;
    (operation.run)(&mut call).map_err(|error| shown(error, options))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::{Builder, number};
    use crate::memory::{Array, FLOATS, Owned};
    use crate::object::{describe, free, hold, load_state, read_state, state_entries};

    #[test]
    fn objects_are_known_by_number_until_they_are_freed() {
        let make = |seed: u32| {
            let config = format!(r#"{{"numHeads":1,"headDim":2,"seed":{seed}}}"#);
            Builder::new(1, &[]).create("createSelfAttention", &config).unwrap()
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
    }

    #[test]
    fn every_operation_has_a_unique_name() {
        let mut names: Vec<&str> = OPERATIONS.iter().map(|operation| operation.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), OPERATIONS.len());
        let outside = Outside { arrays: &[], results: &Owned::default() };
        let unknown = call(u32::MAX, &mut Builder::new(1, &[]).memory, None, outside, None, None);
        assert_eq!(unknown.unwrap_err().code, Code::Internal);
    }

    #[test]
    fn small_results_are_in_the_memory_of_the_call_and_large_ones_outside() {
        for (len, is_inside) in [(8, true), (FLOATS / 2 + 1, false)] {
            let data = vec![0.5; len];
            let mut memory = CallMemory::EMPTY;
            memory.header[..11].copy_from_slice(&[1.0, 0.0, 0.0, 1.0, len as f64, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0]);
            memory.header[11] = len as f64;
            memory.floats[..len].copy_from_slice(&data);
            let results = Owned::default();
            let outside = Outside { arrays: &[], results: &results };
            call(number("softmax").unwrap(), &mut memory, None, outside, None, None).unwrap();
            let place = if is_inside { len as f64 } else { -1.0 };
            assert_eq!(memory.results[..5], [1.0, place, 1.0, len as f64, -1.0]);
            let made = results.into_arrays();
            let expected = vec![1.0 / len as f32; len];
            match is_inside {
                true => assert_eq!(memory.floats[len..2 * len], expected),
                false => assert_eq!(made[0].as_array(), Array::F32(&expected)),
            }
        }
    }

    #[test]
    fn a_truncated_header_or_one_with_other_arrays_is_an_error() {
        let data = [0.5; 6];
        let mut sound = Builder::new(1, &[]);
        sound.add(Array::F32(&data), &[2, 3]);
        let run = |change: &dyn Fn(&mut CallMemory), arrays: &[Array<'_>]| {
            let mut memory = CallMemory::from_bytes(sound.memory.as_bytes());
            change(&mut memory);
            let outside = Outside { arrays, results: &Owned::default() };
            call(number("softmax").unwrap(), &mut memory, None, outside, None, None).map_err(|error| error.code)
        };
        let arrays = [Array::F32(&data)];
        assert_eq!(run(&|_| {}, &arrays), Ok(()));
        assert_eq!(run(&|_| {}, &[]), Err(Code::Internal));
        assert_eq!(run(&|_| {}, &[Array::I32(&[1; 6])]), Err(Code::Internal));
        assert_eq!(run(&|memory| memory.header[7] = 1.0, &arrays), Err(Code::Internal));
        assert_eq!(run(&|memory| memory.header[7] = 1e9, &arrays), Err(Code::Internal));
        assert_eq!(run(&|memory| memory.header[8] = 2.0, &arrays), Err(Code::Internal));
        assert_eq!(run(&|memory| memory.header[10] = 9.0, &arrays), Err(Code::Shape));
        assert_eq!(run(&|memory| memory.header[11] = 1e15, &arrays), Err(Code::Shape));
    }
}
