//! Fuzzes calls with headers, options, arrays and parameters from arbitrary bytes. Errors are expected; panics, writes
//! out of bounds and endless work are not.

use arbitrary::{Result, Unstructured};
use ruvector_attention::layers::LoadOptions;
use ruvector_attention_calls::{self as calls, Array, Builder, Element, OPERATIONS};

/// Names of options and configurations, each valid for some mechanism.
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

/// Values of options, each valid for some of them.
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

/// Valid configurations, so that calls get as far as creating objects.
const CONFIGS: &[(&str, &str)] = &[
    ("createMultiHeadAttention", r#"{"numHeads":2,"headDim":2,"modelDim":3,"dropout":0.5}"#),
    ("createSelfAttention", r#"{"numHeads":2,"headDim":2,"kvHeads":1,"rotary":{}}"#),
    ("createCrossAttention", r#"{"numHeads":1,"headDim":3,"kDim":2}"#),
    ("createTransformerEncoderLayer", r#"{"modelDim":4,"numHeads":2,"feedForwardDim":3}"#),
    ("createKVCache", r#"{"kvHeads":1,"headDim":2,"capacity":3}"#),
    ("createKVCache", r#"{"kvHeads":2,"headDim":2,"capacity":4,"window":2,"valueDim":1}"#),
    ("createLinearAttention", r#"{"modelDim":4,"numHeads":2}"#),
    ("createLinearAttention", r#"{"modelDim":3,"featureMap":"favor+","featureDim":5}"#),
    ("createLinearAttention", r#"{"modelDim":4,"numHeads":2,"kvHeads":1,"rule":"gated_delta"}"#),
    ("createLinearAttention", r#"{"modelDim":3,"rule":"gated","scale":2}"#),
    ("createLinearStream", "{}"),
    ("createHyperbolicAttention", r#"{"curvature":-1}"#),
    ("createHyperbolicAttention", r#"{"curvature":-0.5,"manifold":"lorentz","inputs":"tangent"}"#),
    ("createGraphConvolution", r#"{"inFeatures":2,"outFeatures":2}"#),
    ("createGraphSage", r#"{"inFeatures":2,"outFeatures":3,"reduce":"max"}"#),
    ("createGraphAttention", r#"{"inFeatures":2,"outFeatures":2,"numHeads":2,"edgeFeatures":1}"#),
    ("createGraphTransformer", r#"{"inFeatures":2,"outFeatures":2,"beta":true}"#),
    ("createGraph", r#"{"numNodes":3}"#),
];

/// The maximum number of elements in an array, to keep calls short.
const MOST_ELEMENTS: usize = 2048;

/// Dimensions, some of which exceed any memory but are still allowed for an empty array.
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

/// The objects created by earlier steps.
#[derive(Default)]
struct World {
    ids: Vec<u32>,
}

/// Runs the steps that the bytes encode.
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
        0 | 1 => create_rightly(input, world),
        2 => load(input, world),
        3 => inspect(input, world),
        _ => call(input, world),
    }
}

fn create_rightly(input: &mut Unstructured<'_>, world: &mut World) -> Result<()> {
    let (operation, config) = *input.choose(CONFIGS)?;
    let nodes: Vec<i32> = (0..input.int_in_range(0..=5)?).map(|_| input.int_in_range(0..=2)).collect::<Result<_>>()?;
    let mut call = Builder::new(1, &[]);
    if operation == "createGraph" {
        (0..2).for_each(|_| call.add(Array::I32(&nodes), &[nodes.len()]));
    }
    world.ids.push(call.create(operation, config).expect("a configuration that is right"));
    Ok(())
}

/// Loads parameters with their real shapes and names, or with arbitrary ones.
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

/// Chooses an object's number, usually of one that exists.
fn any_id(input: &mut Unstructured<'_>, world: &World) -> Result<Option<u32>> {
    if world.ids.is_empty() || input.ratio(1, 10)? {
        return Ok(Some(input.int_in_range(0..=40)?));
    }
    input.choose(&world.ids).copied().map(Some)
}

/// An array drawn by the fuzzer.
enum Drawn {
    Floats(Vec<f32>),
    Integers(Vec<i32>),
    Bytes(Vec<u8>),
}

/// Runs any operation, usually on inputs that match its signature.
fn call(input: &mut Unstructured<'_>, world: &mut World) -> Result<()> {
    // Exclude the last operation, which panics on purpose.
    let operation = input.choose(&OPERATIONS[..OPERATIONS.len() - 1])?;
    let objects = (0..input.int_in_range(0..=2)?)
        .map(|_| Ok(any_id(input, world)?.unwrap_or(0)))
        .collect::<Result<Vec<u32>>>()?;
    let size = input.int_in_range(0..=4usize)?;
    let mut drawn = Vec::new();
    for signature in operation.inputs {
        if input.ratio(1, if signature.is_optional() { 2 } else { 20 })? {
            drawn.push(None);
            continue;
        }
        let shape = shape(input, size)?;
        let element = if input.ratio(1, 20)? { Element::I32 } else { *input.choose(signature.elements)? };
        let array = match element {
            Element::F32 => Drawn::Floats(floats(input, Some(&shape))?),
            Element::U8 => Drawn::Bytes((0..elements(&shape)).map(|index| (index % 3) as u8).collect()),
            _ => Drawn::Integers(integers(input)?),
        };
        let shape = if let Drawn::Integers(integers) = &array { vec![integers.len() as f64] } else { shape };
        drawn.push(Some((array, shape)));
    }
    let parts = input.int_in_range(1..=3usize)?;
    let mut call = Builder::new(input.int_in_range(0..=3)?, &objects).part(input.int_in_range(0..=parts)?, parts);
    call.memory.header[1] = f64::from(input.arbitrary::<bool>()?);
    for drawn in &drawn {
        let Some((array, shape)) = drawn else {
            call.absent();
            continue;
        };
        // Dimensions as in the header, including those beyond the range of this machine.
        let dims: Vec<usize> = shape.iter().map(|&dim| dim as usize).collect();
        match array {
            Drawn::Floats(floats) => call.add(Array::F32(floats), &dims),
            Drawn::Integers(integers) => call.add(Array::I32(integers), &dims),
            Drawn::Bytes(bytes) => call.add(Array::U8(bytes), &dims),
        }
    }
    if input.ratio(1, 20)? {
        let place = input.int_in_range(0..=40usize)?;
        call.memory.header[place] = *input.choose(DIMENSIONS)?;
    }
    let options = if input.ratio(3, 4)? { Some(options(input)?) } else { None };
    if operation.results == ["object"] {
        world.ids.extend(call.create(operation.name, options.as_deref().unwrap_or("{}")));
    } else {
        let _ = call.run(operation.name, options.as_deref());
    }
    Ok(())
}

/// Draws a few dimensions, usually all equal, so that tensors sometimes fit each other.
fn shape(input: &mut Unstructured<'_>, size: usize) -> Result<Vec<f64>> {
    let rank = if input.ratio(1, 10)? { input.int_in_range(0..=10)? } else { input.int_in_range(1..=4)? };
    let is_strange = input.ratio(1, 8)?;
    (0..rank).map(|_| if is_strange { input.choose(DIMENSIONS).copied() } else { Ok(size as f64) }).collect()
}

/// Returns the number of elements of a shape, or a small number if that exceeds the limit of a case.
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

fn integers(input: &mut Unstructured<'_>) -> Result<Vec<i32>> {
    let length = input.int_in_range(0..=8)?;
    let far = input.ratio(1, 8)?;
    (0..length).map(|_| if far { input.arbitrary() } else { input.int_in_range(-2..=5) }).collect()
}

/// Draws options: usually an object of known names and values, otherwise any text.
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

/// Draws any text, except for numbers that would allocate gigabytes.
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
