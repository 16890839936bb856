//! The door under calls that nobody would write: headers, options, arrays and parameters from arbitrary bytes. Errors are
//! right; panics, writes out of bounds and endless work are not.

use arbitrary::{Result, Unstructured};
use ruvector_attention::layers::LoadOptions;
use ruvector_attention_calls::{self as calls, Slots};

/// Names of options and configurations, right for some mechanism.
const NAMES: &[&str] = &[
    "numHeads",
    "headDim",
    "modelDim",
    "kvHeads",
    "kDim",
    "vDim",
    "useBias",
    "dropout",
    "seed",
    "rotary",
    "base",
    "interleaved",
    "dim",
    "scale",
    "softcap",
    "causal",
    "queryOffset",
    "window",
    "layout",
    "weights",
    "averageWeights",
    "topWeights",
    "logSumExp",
    "blockSize",
    "stage",
    "epsilon",
    "approximate",
    "normalize",
    "length",
    "batch",
    "valueDim",
    "capacity",
    "feedForwardDim",
    "activation",
    "normFirst",
    "featureMap",
    "featureDim",
    "curvature",
    "manifold",
    "temperature",
    "inputs",
    "function",
    "factor",
    "numNodes",
    "reduce",
    "edgeFeatures",
    "inFeatures",
    "outFeatures",
    "concat",
    "version",
    "negativeSlope",
    "addSelfLoops",
    "beta",
    "mask",
    "kvLengths",
    "positions",
    "lengths",
    "x",
];

/// Values of options, right for some of them.
const VALUES: &[&str] = &[
    "true",
    "false",
    "null",
    "0",
    "1",
    "2",
    "3",
    "4",
    "5",
    "8",
    "-1",
    "-3",
    "0.5",
    "1e-30",
    "1e30",
    "1e-45",
    "1e400",
    "\"NaN\"",
    "\"Infinity\"",
    "\"-Infinity\"",
    "9007199254740991",
    "18446744073709551615",
    "1099511627776",
    "{}",
    "[]",
    "[1,2]",
    "[-1,0]",
    "[0,-1]",
    "[9007199254740991,9007199254740991]",
    "\"bhld\"",
    "\"blhd\"",
    "\"scores\"",
    "\"softcapped\"",
    "\"biased\"",
    "\"weights\"",
    "\"tanh\"",
    "\"none\"",
    "\"relu\"",
    "\"gelu\"",
    "\"elu\"",
    "\"favor+\"",
    "\"poincare\"",
    "\"lorentz\"",
    "\"tangent\"",
    "\"manifold\"",
    "\"sum\"",
    "\"mean\"",
    "\"max\"",
    "\"min\"",
    "{\"base\":3}",
    "{\"dim\":2,\"interleaved\":true}",
    "\"distance\"",
    "\"expMap\"",
    "\"logMap\"",
    "\"expMap0\"",
    "\"logMap0\"",
    "\"mobiusAdd\"",
    "\"mobiusScale\"",
    "\"parallelTransport\"",
    "\"projectToBall\"",
    "\"toLorentz\"",
    "\"toPoincare\"",
    "\"F32\"",
    "\"F16\"",
    "-1.5",
    "-0.25",
    "1.5",
];

const KINDS: &[&str] = &[
    "multi-head",
    "self",
    "cross",
    "encoder-layer",
    "kv-cache",
    "linear",
    "linear-stream",
    "hyperbolic",
    "graph",
    "graph-convolution",
    "graph-sage",
    "graph-attention",
    "graph-transformer",
    "other",
];

/// Configurations that are right, for objects to get to.
const CONFIGS: &[(&str, &str)] = &[
    ("multi-head", r#"{"numHeads":2,"headDim":2,"modelDim":3,"dropout":0.5}"#),
    ("self", r#"{"numHeads":2,"headDim":2,"kvHeads":1,"rotary":{}}"#),
    ("cross", r#"{"numHeads":1,"headDim":3,"kDim":2}"#),
    ("encoder-layer", r#"{"modelDim":4,"numHeads":2,"feedForwardDim":3}"#),
    ("kv-cache", r#"{"kvHeads":1,"headDim":2,"capacity":3}"#),
    ("kv-cache", r#"{"kvHeads":2,"headDim":2,"capacity":4,"window":2,"valueDim":1}"#),
    ("linear", r#"{"modelDim":4,"numHeads":2}"#),
    ("linear", r#"{"modelDim":3,"featureMap":"favor+","featureDim":5}"#),
    ("linear-stream", "{}"),
    ("hyperbolic", r#"{"curvature":-1}"#),
    ("hyperbolic", r#"{"curvature":-0.5,"manifold":"lorentz","inputs":"tangent"}"#),
    ("graph-convolution", r#"{"inFeatures":2,"outFeatures":2}"#),
    ("graph-sage", r#"{"inFeatures":2,"outFeatures":3,"reduce":"max"}"#),
    ("graph-attention", r#"{"inFeatures":2,"outFeatures":2,"numHeads":2,"edgeFeatures":1}"#),
    ("graph-transformer", r#"{"inFeatures":2,"outFeatures":2,"beta":true}"#),
    ("graph", r#"{"numNodes":3}"#),
];

/// The most elements of an array, so that calls stay short.
const MOST_ELEMENTS: usize = 2048;

/// Dimensions of which some are beyond every memory, and which an empty array may have all the same.
const DIMENSIONS: &[f64] = &[
    0.0,
    1.0,
    1.0,
    2.0,
    2.0,
    3.0,
    3.0,
    4.0,
    5.0,
    8.0,
    17.0,
    2147483648.0,
    4294967296.0,
    1e12,
    9007199254740991.0,
    1e300,
];

/// The objects that the steps have made.
#[derive(Default)]
struct World {
    ids: Vec<u32>,
}

/// Runs the steps that the bytes stand for.
pub fn run(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let mut world = World::default();
    for _ in 0..12 {
        if input.is_empty() || step(&mut input, &mut world).is_err() {
            break;
        }
    }
    for id in world.ids {
        calls::free(id);
    }
}

fn step(input: &mut Unstructured<'_>, world: &mut World) -> Result<()> {
    match input.int_in_range(0..=9)? {
        0 => create(input, world),
        1 => create_rightly(input, world),
        2 => load(input, world),
        3 => inspect(input, world),
        _ => call(input, world),
    }
}

fn create(input: &mut Unstructured<'_>, world: &mut World) -> Result<()> {
    let (kind, config) = (*input.choose(KINDS)?, options(input)?);
    let (first, second) = (integers(input)?, integers(input)?);
    if let Ok(id) = calls::create(kind, &config, [first.as_deref(), second.as_deref()]) {
        world.ids.push(id);
    }
    Ok(())
}

fn create_rightly(input: &mut Unstructured<'_>, world: &mut World) -> Result<()> {
    let (kind, config) = *input.choose(CONFIGS)?;
    let nodes: Vec<i32> = (0..input.int_in_range(0..=5)?).map(|_| input.int_in_range(0..=2)).collect::<Result<_>>()?;
    let ends = [Some(&nodes[..]), Some(&nodes[..])];
    let ends = if kind == "graph" { ends } else { [None, None] };
    world.ids.push(calls::create(kind, config, ends).expect("a configuration that is right"));
    Ok(())
}

/// Parameters as they are, under names as they are, or neither.
fn load(input: &mut Unstructured<'_>, world: &mut World) -> Result<()> {
    let Some(id) = any_id(input, world)? else { return Ok(()) };
    let described = calls::state_entries(id).unwrap_or_else(|_| "[]".into());
    let described = if input.ratio(1, 3)? { text(input)? } else { described };
    let count = if input.ratio(1, 3)? { input.int_in_range(0..=9)? } else { described.matches("\"name\"").count() };
    let arrays: Vec<Vec<f32>> = (0..count).map(|_| floats(input, None)).collect::<Result<_>>()?;
    let arrays: Vec<&[f32]> = arrays.iter().map(Vec::as_slice).collect();
    let prefix = if input.ratio(1, 4)? { text(input)? } else { String::new() };
    let _ = calls::load_state(id, &described, &arrays, LoadOptions { prefix: &prefix, strict: input.arbitrary()? });
    Ok(())
}

fn inspect(input: &mut Unstructured<'_>, world: &mut World) -> Result<()> {
    let Some(id) = any_id(input, world)? else { return Ok(()) };
    let _ = calls::describe(id);
    let mut output = floats(input, None)?;
    let _ = calls::read_state(id, input.int_in_range(0..=9)?, &mut output);
    if let Ok(held) = calls::hold(id) {
        if input.ratio(1, 2)? {
            calls::free(id);
        }
        world.ids.push(held);
    }
    Ok(())
}

/// Mostly one that there is.
fn any_id(input: &mut Unstructured<'_>, world: &World) -> Result<Option<u32>> {
    if world.ids.is_empty() || input.ratio(1, 10)? {
        return Ok(Some(input.int_in_range(0..=40)?));
    }
    input.choose(&world.ids).copied().map(Some)
}

fn call(input: &mut Unstructured<'_>, world: &World) -> Result<()> {
    // Without the last one, which panics on purpose.
    let count = calls::operations().split(',').count() - 1;
    let operation = input.int_in_range(0..=count as u32)?;
    if operation as usize == count {
        return Ok(());
    }
    let mut header = vec![f64::from(input.int_in_range(0..=3u8)?), f64::from(input.arbitrary::<bool>()?)];
    let parts = input.int_in_range(1..=3u8)?;
    header.extend([f64::from(input.int_in_range(0..=parts)?), f64::from(parts)]);
    let objects = input.int_in_range(0..=2)?;
    header.push(objects as f64);
    for _ in 0..objects {
        header.push(any_id(input, world)?.map_or(0.0, f64::from));
    }
    let mut inputs: [Option<Vec<f32>>; 4] = [None, None, None, None];
    let size = input.int_in_range(0..=4usize)?;
    for slot in &mut inputs {
        if input.ratio(3, 4)? {
            let shape = shape(input, size)?;
            push_shape(&mut header, &shape);
            *slot = Some(floats(input, Some(&shape))?);
        }
    }
    let mask = if input.ratio(1, 4)? { Some(mask(input, &mut header)?) } else { None };
    if input.ratio(1, 20)? {
        header.truncate(input.int_in_range(0..=header.len())?);
    }
    let options = if input.ratio(3, 4)? { Some(options(input)?) } else { None };
    let (first, second) = (integers(input)?, integers(input)?);
    let mut outputs =
        [outputs(input, &inputs)?, outputs(input, &inputs)?, outputs(input, &inputs)?, outputs(input, &inputs)?];
    let mut indices = integers(input)?;
    let mut outputs = outputs.each_mut();
    let slots = Slots {
        inputs: inputs.each_ref().map(Option::as_deref),
        bytes: mask.as_deref(),
        integers: [first.as_deref(), second.as_deref()],
        outputs: outputs.each_mut().map(|output| output.as_deref_mut()),
        indices: indices.as_deref_mut(),
    };
    let _ = calls::call(operation, &header, options.as_deref(), slots, None);
    Ok(())
}

fn push_shape(header: &mut Vec<f64>, shape: &[f64]) {
    header.push(shape.len() as f64);
    header.extend(shape);
}

/// A few dimensions, mostly all alike, so that tensors fit each other now and then.
fn shape(input: &mut Unstructured<'_>, size: usize) -> Result<Vec<f64>> {
    let rank = if input.ratio(1, 10)? { input.int_in_range(0..=10)? } else { input.int_in_range(1..=4)? };
    let is_strange = input.ratio(1, 8)?;
    (0..rank).map(|_| if is_strange { input.choose(DIMENSIONS).copied() } else { Ok(size as f64) }).collect()
}

/// How many elements a shape has, or a few where that is beyond what a case may take.
fn elements(shape: &[f64]) -> usize {
    let product: f64 = shape.iter().product();
    if product.is_finite() && product <= MOST_ELEMENTS as f64 { product as usize } else { 0 }
}

fn floats(input: &mut Unstructured<'_>, shape: Option<&[f64]>) -> Result<Vec<f32>> {
    let length = match shape {
        Some(shape) if !input.ratio(1, 16)? => elements(shape),
        _ => input.int_in_range(0..=64)?,
    };
    let pattern: [f32; 5] = if input.ratio(1, 3)? { input.arbitrary()? } else { [0.25, -0.5, 0.125, 1.0, -0.0] };
    Ok(pattern.into_iter().cycle().take(length).collect())
}

fn mask(input: &mut Unstructured<'_>, header: &mut Vec<f64>) -> Result<Vec<u8>> {
    let size = input.int_in_range(0..=4)?;
    let shape = shape(input, size)?;
    push_shape(header, &shape);
    Ok((0..elements(&shape)).map(|index| (index % 3) as u8).collect())
}

fn integers(input: &mut Unstructured<'_>) -> Result<Option<Vec<i32>>> {
    if input.ratio(1, 2)? {
        return Ok(None);
    }
    let length = input.int_in_range(0..=8)?;
    let far = input.ratio(1, 8)?;
    (0..length)
        .map(|_| if far { input.arbitrary() } else { input.int_in_range(-2..=5) })
        .collect::<Result<_>>()
        .map(Some)
}

/// An array as long as a result may be: as an input, or as rows and columns of some.
fn outputs(input: &mut Unstructured<'_>, inputs: &[Option<Vec<f32>>]) -> Result<Option<Vec<f32>>> {
    if input.ratio(1, 4)? {
        return Ok(None);
    }
    let like = inputs[input.int_in_range(0..=3usize)?].as_ref().map_or(0, Vec::len);
    let length = if input.ratio(2, 3)? { like } else { input.int_in_range(0..=300)? };
    Ok(Some(vec![0.0; length]))
}

/// Options: mostly an object of names and values that are known, else any text.
fn options(input: &mut Unstructured<'_>) -> Result<String> {
    if input.ratio(1, 8)? {
        return text(input);
    }
    let mut json = String::from("{");
    for index in 0..input.int_in_range(0..=6)? {
        let comma = if index == 0 { "" } else { "," };
        json.push_str(&format!("{comma}\"{}\":{}", input.choose(NAMES)?, input.choose(VALUES)?));
    }
    json.push('}');
    Ok(json)
}

/// Any text, but no number that would ask for gigabytes.
fn text(input: &mut Unstructured<'_>) -> Result<String> {
    let length = input.int_in_range(0..=200)?;
    let length = input.len().min(length);
    let text = String::from_utf8_lossy(input.bytes(length)?).into_owned();
    let mut run = 0;
    let is_modest = text.bytes().chain([b' ']).all(|byte| {
        let ended = if byte.is_ascii_digit() { 0 } else { run };
        run = if byte.is_ascii_digit() { run + 1 } else { 0 };
        !(2..=12).contains(&ended)
    });
    Ok(if is_modest { text } else { String::new() })
}
