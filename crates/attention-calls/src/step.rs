//! A step of an optimizer over any number of layers. It updates parameters and states where they are, after everything
//! has been checked, so that a step that fails changes nothing.

use std::any::Any;
use std::ops::Range;

use ruvector_attention::simd::Level;
use ruvector_attention::training::steps::{AdamwOptions, AdamwStep, SgdOptions, SgdStep, SquaredNorm};
use ruvector_attention::{Code, Context, Error, Result};

use crate::json::{Json, Value};
use crate::object::{Object, with_exclusive};
use crate::table::observed_by;
use crate::tensors::{NamedTensor, Tensors};

/// The elements of a parameter that are updated at a time: few enough that copies of them stay in the cache, and a
/// multiple of the stride of [`SquaredNorm`].
const PIECE: usize = if cfg!(test) { 1 << 4 } else { 1 << 13 };

/// The cost of an element of a norm, and of a step, in scalar operations.
const NORM_OPERATIONS: u64 = 4;
const STEP_OPERATIONS: u64 = 16;

/// Floats outside of this module's memory.
pub trait Remote: Sync {
    /// Returns the number of elements.
    fn count(&self) -> usize;
    /// Copies elements from `start` on.
    fn read(&self, start: usize, target: &mut [f32]);
    /// Overwrites elements from `start` on.
    fn write(&self, start: usize, source: &[f32]);
}

/// The gradient of a parameter.
#[derive(Clone, Copy)]
pub enum Gradient<'a> {
    /// In this module's memory.
    Lent(&'a [f32]),
    /// Outside; copied piece by piece.
    Remote(&'a dyn Remote),
}

/// A parameter that is in no object of this module.
pub enum Parameter<'a> {
    /// In this module's memory.
    Lent(&'a mut [f32]),
    /// Outside; copied piece by piece.
    Remote(&'a dyn Remote),
}

impl Parameter<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Lent(data) => data.len(),
            Self::Remote(data) => data.count(),
        }
    }
}

impl Gradient<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Lent(data) => data.len(),
            Self::Remote(data) => data.count(),
        }
    }

    /// Passes at most [`PIECE`] elements to `visit`.
    fn with(&self, range: Range<usize>, visit: &mut dyn FnMut(&[f32])) {
        match self {
            Self::Lent(data) => visit(&data[range]),
            Self::Remote(data) => {
                let mut copied = [0.0; PIECE];
                let copied = &mut copied[..range.len()];
                data.read(range.start, copied);
                visit(copied)
            }
        }
    }
}

/// The rule of an optimizer with its options.
#[derive(Clone, Copy)]
enum Rule {
    Adamw(AdamwOptions),
    Sgd(SgdOptions),
}

/// The number of steps taken so far, a state of AdamW. All other states have the shape of the parameter.
const STEP: &str = "step";

impl Rule {
    /// Reads the rule and its options from a plan.
    #[inline(never)]
    fn read(plan: &Json<'_>, scale: f64) -> Result<Self> {
        let rule = plan.member("rule").and_then(Json::string).ok_or_else(malformed)?;
        let number = |name| number(plan, name).unwrap_or(f64::NAN);
        let (learning_rate, weight_decay) = (number("learningRate"), number("weightDecay"));
        Ok(if rule == "adamw" {
            let (beta1, beta2, epsilon) = (number("beta1"), number("beta2"), number("epsilon"));
            Self::Adamw(AdamwOptions { learning_rate, beta1, beta2, epsilon, weight_decay, step: 1, scale })
        } else {
            let nesterov = plan.member("nesterov").is_some_and(|json| json.value == Value::Boolean(true));
            Self::Sgd(SgdOptions { learning_rate, momentum: number("momentum"), weight_decay, nesterov, scale })
        })
    }

    /// Returns the names of the states.
    fn parts(&self) -> &'static [&'static str] {
        match self {
            Self::Adamw(_) => &["exp_avg", "exp_avg_sq", STEP],
            Self::Sgd(options) if options.momentum == 0.0 => &[],
            Self::Sgd(_) => &["momentum_buffer"],
        }
    }
}

/// A step of a rule for one parameter, with checked options.
enum Kernel {
    Adamw(AdamwStep),
    Sgd(SgdStep),
}

impl Kernel {
    fn apply(&self, level: Level, gradient: &[f32], parameter: &mut [f32], [first, second]: [&mut [f32]; 2]) {
        match self {
            Self::Adamw(step) => step.apply(level, gradient, [parameter, first, second]),
            Self::Sgd(step) => step.apply(level, gradient, [parameter, first]),
        }
    }
}

/// The update of one parameter.
struct Update<'a> {
    name: &'a str,
    shape: Vec<usize>,
    /// The position of its states among the objects of states.
    states: usize,
    /// The position of its layer and its index there, or `None` for the next parameter outside of objects.
    place: Option<(usize, usize)>,
}

impl<'a> Update<'a> {
    /// Reads an update, and adds to `ids` those of states and layers.
    #[inline(never)]
    fn read(json: &'a Json<'_>, ids: &mut [Vec<u32>; 2]) -> Option<Self> {
        let [states, layers] = ids;
        Some(Self {
            name: json.member("name")?.string()?,
            shape: json.member("shape")?.sizes()?,
            states: position(json, "states", states)?,
            place: position(json, "object", layers).zip(number(json, "entry").map(|entry| entry as usize)),
        })
    }

    fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Returns the position of an id in a list, to which it is added if it is new.
#[inline(never)]
fn position(json: &Json<'_>, name: &str, ids: &mut Vec<u32>) -> Option<usize> {
    let id = number(json, name)? as u32;
    let found = ids.iter().position(|&other| other == id);
    if found.is_none() {
        ids.push(id);
    }
    Some(found.unwrap_or(ids.len() - 1))
}

#[cold]
#[inline(never)]
fn malformed() -> Error {
    Error::new(Code::Internal, "plan", "a rule and parameters with their states", "others")
}

/// Returns a number of a plan.
#[inline(never)]
fn number(plan: &Json<'_>, name: &str) -> Option<f64> {
    plan.member(name)?.number()
}

/// Takes a step of an optimizer. `plan` is a JSON object with the members `rule` ("adamw" or "sgd") and its options
/// except clipping, `threads`, `clipNorm` and `updates`, a list of `{ "name", "shape", "states", "object", "entry" }`:
/// each update has the id of the object of its states, and its parameter is the entry of an object or, without one,
/// the next of `parameters`. The gradients are in the order of the updates.
///
/// Parameters and states change in place. An object that a call on another thread still uses is replaced by a copy, so
/// that the call goes on with the parameters that it started with.
///
/// # Errors
/// `DOMAIN` for a gradient without a finite norm, `SHAPE`, `OPTION`, `MEMORY`; nothing is changed then.
#[inline(never)]
pub fn step(plan: &str, gradients: &[Gradient<'_>], parameters: Vec<Parameter<'_>>) -> Result<()> {
    let plan = Json::parse(plan).map_err(|_| malformed())?;
    let given = plan.member("updates").and_then(Json::items).filter(|given| given.len() == gradients.len());
    let mut updates = Vec::with_capacity(gradients.len());
    let mut ids = [Vec::new(), Vec::new()];
    for (update, gradient) in given.ok_or_else(malformed)?.iter().zip(gradients) {
        let update = Update::read(update, &mut ids).ok_or_else(malformed)?;
        check_length(&update, gradient.len())?;
        updates.push(update);
    }
    let threads = number(&plan, "threads").unwrap_or(1.0) as usize;
    let context = Context { threads, ..observed_by(None) };
    let norm = norm(context, &updates, gradients)?;
    let scale = number(&plan, "clipNorm").map_or(1.0, |limit| (limit / (norm + 1e-6)).min(1.0));
    let rule = Rule::read(&plan, scale)?;
    let num_states = ids[0].len();
    let [mut ids, layers] = ids;
    ids.extend(layers);
    let step = Step { context, rule, num_states, updates: &updates, gradients };
    with_exclusive(&ids, |objects| step.run(objects, parameters))
}

#[inline(never)]
fn check_length(update: &Update<'_>, actual: usize) -> Result<()> {
    match update.len() == actual {
        true => Ok(()),
        false => Err(Error::shape(update.name, format_args!("{} elements", update.len()), actual)),
    }
}

/// Returns the norm of all gradients together.
#[inline(never)]
fn norm(context: Context<'_>, updates: &[Update<'_>], gradients: &[Gradient<'_>]) -> Result<f64> {
    let mut squares = vec![0.0; gradients.len()];
    let work = updates.iter().fold(0, |work: u64, update| work.saturating_add(NORM_OPERATIONS * update.len() as u64));
    context.for_each_rows(gradients.len(), 1, work, [&mut *squares], |item, [squares]| {
        for (gradient, square) in gradients[item].iter().zip(squares) {
            let mut norm = SquaredNorm::default();
            for range in pieces(gradient.len()) {
                gradient.with(range, &mut |piece| norm.add(context.level, piece));
            }
            *square = norm.total();
        }
    });
    let mut sum = 0.0;
    for (update, &square) in updates.iter().zip(&squares) {
        if !square.is_finite() {
            let norm = if square.is_nan() { "the norm NaN" } else { "the norm Infinity" };
            return Err(Error::new(Code::Domain, update.name, "a gradient with a finite norm", norm));
        }
        sum += square;
    }
    Ok(sum.sqrt())
}

/// Returns the ranges of the pieces of a parameter.
fn pieces(len: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    (0..len.div_ceil(PIECE)).map(move |piece| piece * PIECE..len.min((piece + 1) * PIECE))
}

/// A step whose gradients were checked.
struct Step<'a> {
    context: Context<'a>,
    rule: Rule,
    /// The number of objects of states, which precede those of parameters.
    num_states: usize,
    updates: &'a [Update<'a>],
    gradients: &'a [Gradient<'a>],
}

/// An update that cannot fail any more.
struct Prepared {
    kernel: Kernel,
    /// The indices of the states.
    places: [Option<usize>; 3],
    /// The number of this step, if that is a state.
    step: f32,
}

/// A piece of a parameter with its gradient and its states.
struct Piece<'a> {
    kernel: &'a Kernel,
    range: Range<usize>,
    gradient: Gradient<'a>,
    parameter: Parameter<'a>,
    states: [&'a mut [f32]; 2],
}

impl Piece<'_> {
    fn update(&mut self, level: Level) {
        let Self { kernel, range, gradient, parameter, states: [first, second] } = self;
        gradient.with(range.clone(), &mut |gradient| match parameter {
            Parameter::Lent(parameter) => kernel.apply(level, gradient, parameter, [first, second]),
            Parameter::Remote(parameter) => {
                let mut copied = [0.0; PIECE];
                let copied = &mut copied[..range.len()];
                parameter.read(range.start, copied);
                kernel.apply(level, gradient, copied, [first, second]);
                parameter.write(range.start, copied);
            }
        });
    }
}

/// Takes elements off the start of a slice, or all that there are.
fn take<'a>(rest: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let len = len.min(rest.len());
    let (first, after) = std::mem::take(rest).split_at_mut(len);
    *rest = after;
    first
}

/// The elements of the entries of an object.
type Slices<'a> = Vec<Option<&'a mut [f32]>>;

impl Step<'_> {
    #[inline(never)]
    fn run(&self, objects: &mut [&mut dyn Object], outside: Vec<Parameter<'_>>) -> Result<()> {
        // Step 1: find the parameters.
        let (states, layers) = objects.split_at_mut(self.num_states);
        let mut slices: Vec<Slices<'_>> = layers.iter_mut().map(|layer| layer.floats_mut()).collect();
        let mut outside = outside.into_iter();
        let mut parameters = Vec::with_capacity(self.updates.len());
        for update in self.updates {
            let parameter = match update.place {
                Some((layer, entry)) => slices[layer].get_mut(entry).and_then(Option::take).map(Parameter::Lent),
                None => outside.next(),
            };
            let parameter = parameter.ok_or_else(malformed)?;
            check_length(update, parameter.len())?;
            parameters.push(parameter);
        }
        // Step 2: find the states, and add those of parameters that have none yet. From then on nothing fails, so the
        // memory for step 3 is there before.
        let mut all = Vec::new();
        let count = self.updates.iter().map(|update| pieces(update.len()).len()).sum();
        all.try_reserve_exact(count).map_err(|_| Error::memory("pieces", count))?;
        let mut found = Vec::with_capacity(states.len());
        for object in states {
            let tensors = (&mut **object as &mut dyn Any).downcast_mut::<Tensors>().ok_or_else(malformed)?;
            found.push((tensors.len(), tensors));
        }
        let mut prepared = Vec::with_capacity(self.updates.len());
        for update in self.updates {
            match self.prepare(update, found[update.states].1) {
                Ok(ready) => prepared.push(ready),
                Err(error) => {
                    found.into_iter().for_each(|(len, tensors)| tensors.truncate(len));
                    return Err(error);
                }
            }
        }
        // Step 3: divide the arrays into pieces, and update them.
        let mut slices: Vec<Slices<'_>> = found.into_iter().map(|(_, tensors)| tensors.floats_mut()).collect();
        for (index, (update, Prepared { kernel, places, step })) in self.updates.iter().zip(&prepared).enumerate() {
            let mut states: [&mut [f32]; 3] = Default::default();
            for (state, place) in states.iter_mut().zip(places) {
                *state = place.and_then(|place| slices[update.states][place].take()).unwrap_or_default();
            }
            let [first, second, counter] = &mut states;
            counter.fill(*step);
            for range in pieces(update.len()) {
                let parameter = match &mut parameters[index] {
                    Parameter::Lent(rest) => Parameter::Lent(take(rest, range.len())),
                    Parameter::Remote(array) => Parameter::Remote(*array),
                };
                let states = [take(first, range.len()), take(second, range.len())];
                all.push(Piece { kernel, range, gradient: self.gradients[index], parameter, states });
            }
        }
        let (work, level) = (all.len() as u64 * PIECE as u64 * STEP_OPERATIONS, self.context.level);
        self.context.for_each_rows(all.len(), 1, work, [&mut *all], |_, [pieces]| {
            pieces.iter_mut().for_each(|piece| piece.update(level));
        });
        Ok(())
    }

    /// Finds or adds the states of a parameter, and checks the options of its step.
    #[inline(never)]
    fn prepare(&self, update: &Update<'_>, states: &mut Tensors) -> Result<Prepared> {
        let mut places = [None; 3];
        let mut is_first = true;
        for (place, &part) in places.iter_mut().zip(self.rule.parts()) {
            let name = format!("{}.{part}", update.name);
            let found = states.position(&name);
            *place = found.or(Some(states.len()));
            match found {
                Some(found) if part != STEP => check_length(update, states.data(found).len())?,
                Some(_) => {}
                None => states.push(NamedTensor::zeroed(name, if part == STEP { &[] } else { &update.shape })?),
            }
            is_first &= found.is_none();
        }
        let mut step = 0.0;
        let kernel = match self.rule {
            Rule::Adamw(options) => {
                // The state has 32 bits, as PyTorch's.
                let steps = places[2].and_then(|place| states.data(place).first().copied()).unwrap_or(f32::NAN);
                step = (f64::from(steps) + 1.0) as f32;
                if step as u64 as f32 != step {
                    let name = format!("{}.{STEP}", update.name);
                    return Err(Error::option(name, "an integer of at least 0", "another number"));
                }
                Kernel::Adamw(AdamwStep::new(AdamwOptions { step: step as u64, ..options })?)
            }
            Rule::Sgd(options) => Kernel::Sgd(SgdStep::new(options, is_first)?),
        };
        Ok(Prepared { kernel, places, step })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::sync::Mutex;

    use ruvector_attention::training::steps::adamw_step;

    use super::*;
    use crate::builder::Builder;
    use crate::object::{bytes_of, find, free, hold, read_state, state_entries};

    /// A gradient of a test.
    const SIZE: usize = 3 * PIECE + 5;

    fn create(operation: &str, config: &str) -> u32 {
        Builder::new(1, &[]).create(operation, config).unwrap()
    }

    /// A layer with one parameter of [`SIZE`] elements, and an object for its states.
    fn linear(seed: u32) -> [u32; 2] {
        let config = format!(r#"{{"inFeatures":{SIZE},"outFeatures":1,"useBias":false,"seed":{seed}}}"#);
        [create("createLinear", &config), create("createTensors", "{}")]
    }

    fn gradient(factor: f32) -> Vec<f32> {
        (0..SIZE).map(|index| factor * (index as f32).sin()).collect()
    }

    /// Reads every entry of an object, with its name.
    fn contents(id: u32) -> Vec<(String, Vec<f32>)> {
        let object = find(id).unwrap();
        let stored = object.stored();
        stored.iter().map(|entry| (entry.name.to_string(), entry.floats().unwrap().to_vec())).collect()
    }

    const ADAMW: &str =
        r#""rule":"adamw","learningRate":0.1,"beta1":0.9,"beta2":0.999,"epsilon":1e-8,"weightDecay":0.01"#;

    /// The plan of a step of layers from [`linear`], on several threads.
    fn plan(rule: &str, objects: &[[u32; 2]]) -> String {
        let mut plan = format!(r#"{{{rule},"threads":2,"updates":["#);
        for (index, [layer, states]) in objects.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let name = r#""name":"weight""#;
            write!(plan, r#"{comma}{{{name},"shape":[1,{SIZE}],"states":{states},"object":{layer},"entry":0}}"#)
                .unwrap();
        }
        plan + "]}"
    }

    fn step_adamw(more: &str, objects: &[[u32; 2]], gradients: &[Vec<f32>]) -> Result<()> {
        let gradients: Vec<_> = gradients.iter().map(|gradient| Gradient::Lent(gradient)).collect();
        step(&plan(&format!("{ADAMW}{more}"), objects), &gradients, Vec::new())
    }

    #[test]
    fn parameters_and_states_change_as_those_of_one_tensor() {
        let objects = [linear(1), linear(2)];
        let mut expected = objects.map(|[layer, _]| [contents(layer)[0].1.clone(), vec![0.0; SIZE], vec![0.0; SIZE]]);
        for number in 1..4 {
            let gradients = [gradient(1.0), gradient(-2.0)];
            step_adamw(r#","clipNorm":0.5"#, &objects, &gradients).unwrap();
            let norms = gradients.each_ref().map(|gradient| {
                let mut norm = SquaredNorm::default();
                norm.add(Context::default().level, gradient);
                norm.total()
            });
            let scale = 0.5 / ((norms[0] + norms[1]).sqrt() + 1e-6);
            let options = AdamwOptions { learning_rate: 0.1, scale, step: number, ..AdamwOptions::default() };
            for (gradient, arrays) in gradients.iter().zip(&mut expected) {
                let arrays = arrays.each_mut().map(|array| &mut **array);
                adamw_step(Context::default(), gradient, options, arrays).unwrap();
            }
            for ([layer, states], [parameter, mean, square]) in objects.iter().zip(&expected) {
                assert_eq!(contents(*layer)[0].1, *parameter);
                let states = contents(*states);
                assert_eq!(states[0], ("weight.exp_avg".into(), mean.clone()));
                assert_eq!(states[1], ("weight.exp_avg_sq".into(), square.clone()));
                assert_eq!(states[2], ("weight.step".into(), vec![number as f32]));
            }
        }
        assert_eq!(bytes_of(objects[0][1]).unwrap(), (2 * SIZE + 1) * size_of::<f32>());
        objects.iter().flatten().for_each(|&id| free(id));
    }

    #[test]
    fn sgd_keeps_a_velocity_only_with_momentum() {
        let objects = [linear(1)];
        let gradient = gradient(1.0);
        let take = |options: &str| {
            let rule = format!(r#""rule":"sgd","weightDecay":0,{options}"#);
            step(&plan(&rule, &objects), &[Gradient::Lent(&gradient)], Vec::new())
        };
        let start = contents(objects[0][0])[0].1.clone();
        take(r#""learningRate":1,"momentum":0"#).unwrap();
        let moved: Vec<f32> = start.iter().zip(&gradient).map(|(start, gradient)| start - gradient).collect();
        assert_eq!(contents(objects[0][0])[0].1, moved);
        assert!(contents(objects[0][1]).is_empty());
        // The first step with momentum takes the gradient itself, and the second adds to it.
        take(r#""learningRate":0,"momentum":0.5"#).unwrap();
        assert_eq!(contents(objects[0][1]), [("weight.momentum_buffer".to_owned(), gradient.clone())]);
        take(r#""learningRate":0,"momentum":0.5"#).unwrap();
        let next: Vec<f32> = gradient.iter().map(|value| value * 0.5 + value).collect();
        assert_eq!(contents(objects[0][1])[0].1, next);
        assert_eq!(contents(objects[0][0])[0].1, moved);
    }

    #[test]
    fn a_step_that_fails_changes_nothing() {
        let objects = [linear(1), linear(2)];
        step_adamw("", &objects, &[gradient(1.0), gradient(1.0)]).unwrap();
        let all = || objects.as_flattened().iter().map(|&id| contents(id)).collect::<Vec<_>>();
        let before = all();
        let good = gradient(1.0);
        for (bad, code) in [
            (vec![f32::NAN; SIZE], Code::Domain),
            (vec![f32::INFINITY; SIZE], Code::Domain),
            (vec![1.0; SIZE - 1], Code::Shape),
        ] {
            let error = step_adamw("", &objects, &[good.clone(), bad]).unwrap_err();
            assert_eq!((error.code, &*error.argument), (code, "weight"));
        }
        // A parameter that occurs twice, or that is none.
        let twice = step_adamw("", &[objects[0], objects[0]], &[good.clone(), good.clone()]).unwrap_err();
        let none = step_adamw("", &[objects[0], [objects[1][1], objects[1][1]]], &[good.clone(), good.clone()]);
        let other = step_adamw("", &[objects[0], [objects[1][0], objects[1][0]]], &[good.clone(), good.clone()]);
        let options = step(&plan(&ADAMW.replace("0.999", "2"), &objects), &[Gradient::Lent(&good); 2], Vec::new());
        for error in [twice, none.unwrap_err(), other.unwrap_err(), options.unwrap_err()] {
            assert!([Code::Internal, Code::Shape, Code::Option].contains(&error.code), "{error}");
        }
        assert_eq!(all(), before);
    }

    #[test]
    fn a_call_that_holds_a_layer_keeps_its_parameters() {
        let objects = [linear(1)];
        let before = contents(objects[0][0]);
        let (held, call) = (hold(objects[0][0]).unwrap(), find(objects[0][0]).unwrap());
        step_adamw("", &objects, &[gradient(1.0)]).unwrap();
        let after = contents(objects[0][0]);
        assert_ne!(after, before);
        assert_eq!(contents(held), before);
        assert_eq!(call.stored()[0].floats().unwrap(), before[0].1);
        // Once nothing else uses it, the layer changes in place again.
        free(held);
        drop(call);
        let address = || find(objects[0][0]).unwrap().stored()[0].floats().unwrap().as_ptr();
        let place = address();
        step_adamw("", &objects, &[gradient(1.0)]).unwrap();
        assert_ne!(contents(objects[0][0]), after);
        assert_eq!(address(), place);
    }

    #[test]
    fn copies_of_layers_keep_parameters_of_every_type() {
        for kind in ["f32", "f16", "bf16", "q8_0"] {
            let config = format!(r#"{{"numHeads":2,"headDim":20,"seed":3,"weightType":"{kind}"}}"#);
            let layer = create("createSelfAttention", &config);
            let words = |id: u32, count: usize| {
                let mut words = vec![0.0; count];
                read_state(id, 0, &mut words).unwrap();
                words.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            let count = match kind {
                "f32" => 4800,
                "q8_0" => 1200 + 120,
                _ => 2400,
            };
            let (entries, before) = (state_entries(layer).unwrap(), words(layer, count));
            let held = hold(layer).unwrap();
            with_exclusive(&[layer], |_| Ok(())).unwrap();
            assert!(!std::ptr::addr_eq(
                std::sync::Arc::as_ptr(&find(layer).unwrap()),
                std::sync::Arc::as_ptr(&find(held).unwrap())
            ));
            assert_eq!((state_entries(layer).unwrap(), words(layer, count)), (entries, before));
        }
    }

    #[test]
    fn slices_for_changes_are_those_of_the_stored_entries() {
        let attention = r#""modelDim":8,"numHeads":2"#;
        let mut objects = vec![
            ("createMultiHeadAttention", format!(r#"{{{attention},"kvHeads":1,"addBiasKv":true}}"#)),
            ("createSelfAttention", format!(r#"{{{attention},"sinks":true,"weightType":"f16"}}"#)),
            ("createCrossAttention", format!(r#"{{{attention},"kDim":6,"vDim":6}}"#)),
            ("createTransformerDecoderLayer", format!(r#"{{{attention},"feedForwardDim":12}}"#)),
            (
                "createLatentAttention",
                format!(r#"{{{attention},"latentRank":4,"nopeDim":4,"rotaryDim":2,"valueDim":4}}"#),
            ),
            ("createLinear", r#"{"inFeatures":3,"outFeatures":2}"#.to_owned()),
            ("createEmbedding", r#"{"numEmbeddings":3,"embeddingDim":2}"#.to_owned()),
            ("createGraphConvolution", r#"{"inFeatures":3,"outFeatures":2}"#.to_owned()),
            ("createGraphSage", r#"{"inFeatures":3,"outFeatures":2}"#.to_owned()),
            ("createGraphAttention", r#"{"inFeatures":3,"outFeatures":2,"numHeads":2}"#.to_owned()),
            ("createGraphTransformer", r#"{"inFeatures":3,"outFeatures":2,"numHeads":2}"#.to_owned()),
        ];
        for kind in ["f32", "q8_0"] {
            for operation in ["createTransformerEncoderLayer", "createDecoderLayer"] {
                objects.push((operation, format!(r#"{{{attention},"feedForwardDim":12,"weightType":"{kind}"}}"#)));
            }
        }
        for (operation, config) in objects {
            let id = create(operation, &config);
            let object = find(id).unwrap();
            let stored = object.stored();
            let expected: Vec<_> = stored.iter().map(|entry| entry.floats().map(<[f32]>::to_vec)).collect();
            assert!(expected.iter().flatten().count() > 0);
            let expected_types: Vec<_> = expected.iter().map(Option::is_some).collect();
            drop(stored);
            drop(object);
            with_exclusive(&[id], |objects| {
                let slices = objects[0].floats_mut();
                assert_eq!(slices.iter().map(Option::is_some).collect::<Vec<_>>(), expected_types, "{operation}");
                let found: Vec<_> = slices.into_iter().map(|slice| slice.map(|slice| slice.to_vec())).collect();
                assert_eq!(found, expected, "{operation}");
                Ok(())
            })
            .unwrap();
        }
    }

    /// An array outside, which counts its longest copy.
    struct Outside(Mutex<(Vec<f32>, usize)>);

    impl Outside {
        fn new(data: Vec<f32>) -> Self {
            Self(Mutex::new((data, 0)))
        }
    }

    impl Remote for Outside {
        fn count(&self) -> usize {
            self.0.lock().unwrap().0.len()
        }

        fn read(&self, start: usize, target: &mut [f32]) {
            let (data, longest) = &mut *self.0.lock().unwrap();
            target.copy_from_slice(&data[start..][..target.len()]);
            *longest = target.len().max(*longest);
        }

        fn write(&self, start: usize, source: &[f32]) {
            self.0.lock().unwrap().0[start..][..source.len()].copy_from_slice(source);
        }
    }

    #[test]
    fn arrays_outside_are_copied_piece_by_piece_with_the_same_bits() {
        let [layer, states] = linear(1);
        let mut lent = contents(layer)[0].1.clone();
        let remote = [Outside::new(gradient(1.0)), Outside::new(lent.clone())];
        let plan_outside = |states: u32| {
            format!(r#"{{{ADAMW},"clipNorm":1,"updates":[{{"name":"weight","shape":[1,{SIZE}],"states":{states}}}]}}"#)
        };
        for _ in 0..2 {
            step_adamw(r#","clipNorm":1"#, &[[layer, states]], &[gradient(1.0)]).unwrap();
        }
        let [gradients, parameters] = &remote;
        let others = [create("createTensors", "{}"), create("createTensors", "{}")];
        let own = gradient(1.0);
        for _ in 0..2 {
            step(&plan_outside(others[0]), &[Gradient::Remote(gradients)], vec![Parameter::Remote(parameters)])
                .unwrap();
            step(&plan_outside(others[1]), &[Gradient::Lent(&own)], vec![Parameter::Lent(&mut lent)]).unwrap();
        }
        let (found, longest) = &*parameters.0.lock().unwrap();
        assert_eq!(*found, contents(layer)[0].1);
        assert_eq!(lent, *found);
        assert!(*longest <= PIECE);
        for other in others {
            assert_eq!(contents(other), contents(states));
        }
    }
}
