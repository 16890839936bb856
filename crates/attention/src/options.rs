//! Every option object of the public interface: one definition for both bindings.
//!
//! Absent options take their defaults. An unknown name, a wrong type or a value out of range is an `OPTION` error that
//! names the option.

pub(crate) mod parse;

use std::fmt::Write;

use crate::error::{Error, Result};
use crate::sdpa::rotary::RotaryOptions;

use parse::{Given, read_into, read_options};
pub use parse::{alternatives, nearest};

/// The options that lib/ passes as arrays beside the JSON.
pub(crate) const BESIDE: &[&str] = &["mask", "kvLengths", "out"];

/// The order of the dimensions of 4-D inputs and outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// `[batch, heads, length, size]`.
    #[default]
    Bhld,
    /// `[batch, length, heads, size]`.
    Blhd,
}

/// Where `attentionWeights` stops: the stages of the ONNX operator's `qk_matmul_output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage {
    /// `scale · (q · k)`.
    Scores,
    /// After the soft cap.
    Softcapped,
    /// After the float mask; −∞ where a key is not visible.
    Biased,
    /// After softmax and dropout.
    #[default]
    Weights,
}

/// The options of `scaledDotProductAttention` and `attentionWeights`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AttentionOptions {
    /// The order of the dimensions of 4-D inputs and outputs.
    pub layout: Layout,
    /// Query `i` sees the keys `j ≤ i + query_offset`.
    pub causal: bool,
    /// The key position of query 0.
    pub query_offset: i64,
    /// Keys from `left` before to `right` after the query's position; −1 leaves a side open.
    pub window: Option<[i64; 2]>,
    /// The factor of the scores; 1/√D where absent.
    pub scale: Option<f32>,
    /// Scores pass through `softcap · tanh(s / softcap)` where this is positive.
    pub softcap: f32,
    /// The probability with which a weight is dropped.
    pub dropout: f32,
    /// Which weights are dropped.
    pub seed: u64,
    /// Return the weights.
    pub weights: bool,
    /// Return the so many largest weights of each row.
    pub top_weights: Option<usize>,
    /// Return the logarithm of each row's sum of exponentials.
    pub log_sum_exp: bool,
    /// Where `attentionWeights` stops; [`Stage::Weights`] where absent.
    pub stage: Option<Stage>,
    /// Keys of one tile of `FlashAttention`; 64 where absent, and 4096 where it is more.
    pub block_size: Option<usize>,
}

/// A query offset that no caller can give: nobody has given one.
const NO_OFFSET: i64 = i64::MIN;

impl AttentionOptions {
    /// The options of `scaledDotProductAttention`; `stage` and `blockSize` are none of them.
    pub fn parse(json: Option<&str>) -> Result<Self> {
        Self::default().read(json, |names| names - 2)
    }

    /// The options of `FlashAttention.forward`, which has no memory for the weights.
    pub fn parse_for_flash(json: Option<&str>) -> Result<Self> {
        let options = Self::default().read(json, |names| names)?;
        if options.weights {
            let expected =
                "no request for the weights, which are as many as tiles save: scaledDotProductAttention has them";
            return Err(Error::option("weights", expected, true));
        }
        match options.stage {
            Some(_) => Err(Error::option("stage", "no stage: they are those of attentionWeights", "one")),
            None => Ok(options),
        }
    }

    /// The options of `KVCache.attend`, which is causal unless they say otherwise.
    pub fn parse_for_cache(json: Option<&str>) -> Result<Self> {
        let defaults = Self { causal: true, query_offset: NO_OFFSET, ..Self::default() };
        let options = defaults.read(json, |names| names - 2)?;
        match options.query_offset {
            NO_OFFSET => Ok(options),
            offset => Err(Error::option("queryOffset", "no value: the queries are the cache's last positions", offset)),
        }
    }

    fn read(self, json: Option<&str>, known: impl Fn(usize) -> usize) -> Result<Self> {
        let mut options = self;
        read_into!(options, json, BESIDE, known, {
            "layout" => layout: layout,
            "causal" => causal: Given::boolean,
            "queryOffset" => query_offset: query_offset,
            "window" => window: window,
            "scale" => scale: score_scale,
            "softcap" => softcap: non_negative,
            "dropout" => dropout: probability,
            "seed" => seed: seed,
            "weights" => weights: Given::boolean,
            "topWeights" => top_weights: count,
            "logSumExp" => log_sum_exp: Given::boolean,
            // The last, as not every function has them.
            "stage" => stage: stage,
            "blockSize" => block_size: count,
        })?;
        Ok(options)
    }

    /// The options of `attentionWeights`, which has no other result that could be asked for.
    pub fn parse_for_weights(json: Option<&str>) -> Result<Self> {
        let options = Self::default().read(json, |names| names - 1)?;
        let asked = [
            ("weights", options.weights),
            ("topWeights", options.top_weights.is_some()),
            ("logSumExp", options.log_sum_exp),
        ];
        match asked.iter().find(|(_, asked)| *asked) {
            Some((name, _)) => Err(Error::option(
                *name,
                "no request for a further result: attentionWeights returns the weights alone",
                options.top_weights.filter(|_| *name == "topWeights").map_or("true".to_owned(), |k| k.to_string()),
            )),
            None => Ok(options),
        }
    }
}

/// The options of a layer's `forward`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LayerOptions {
    /// Query `i` sees the keys `j ≤ i + query_offset`.
    pub causal: bool,
    /// The key position of query 0.
    pub query_offset: i64,
    /// Keys from `left` before to `right` after the query's position; −1 leaves a side open.
    pub window: Option<[i64; 2]>,
    /// Return the weights of each head.
    pub weights: bool,
    /// Return the weights' mean over the heads.
    pub average_weights: bool,
    /// The factor of the scores; 1/√headDim where absent.
    pub scale: Option<f32>,
    /// Scores pass through `softcap · tanh(s / softcap)` where this is positive.
    pub softcap: f32,
    /// Which weights are dropped in training; the layer's own seed where absent.
    pub seed: Option<u64>,
}

impl LayerOptions {
    /// The options of one call.
    pub fn parse(json: Option<&str>) -> Result<Self> {
        let mut options = Self::default();
        read_into!(options, json, BESIDE, |names| names, {
            "causal" => causal: Given::boolean,
            "queryOffset" => query_offset: query_offset,
            "window" => window: window,
            "weights" => weights: Given::boolean,
            "averageWeights" => average_weights: Given::boolean,
            "scale" => scale: score_scale,
            "softcap" => softcap: non_negative,
            "seed" => seed: optional_seed,
        })?;
        Ok(options)
    }
}

/// Which inputs an attention layer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerKind {
    /// Query, key and value, the latter two optional.
    MultiHead,
    /// One input.
    SelfAttention,
    /// A query input and a context.
    CrossAttention,
}

impl LayerKind {
    /// The kind of this name: `multi-head`, `self` or `cross`.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "multi-head" => Ok(Self::MultiHead),
            "self" => Ok(Self::SelfAttention),
            "cross" => Ok(Self::CrossAttention),
            other => Err(Error::new(crate::error::Code::Internal, "kind", "'multi-head', 'self' or 'cross'", other)),
        }
    }
}

/// The configuration of an attention layer as the caller gave it.
#[derive(Debug, Clone, PartialEq, Default)]
struct GivenConfig {
    num_heads: Option<usize>,
    head_dim: Option<usize>,
    model_dim: Option<usize>,
    kv_heads: Option<usize>,
    k_dim: Option<usize>,
    v_dim: Option<usize>,
    use_bias: Option<bool>,
    dropout: f32,
    seed: u64,
    rotary: Option<String>,
}

/// The configuration of an attention layer with every default filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionConfig {
    /// Query heads.
    pub num_heads: usize,
    /// The size of a head's queries, keys and values.
    pub head_dim: usize,
    /// The size of the query input and of the output; `num_heads · head_dim` unless given.
    pub model_dim: usize,
    /// Key/value heads, a divisor of `num_heads`, which it is unless given.
    pub kv_heads: usize,
    /// The size of the key input; `model_dim` unless given.
    pub k_dim: usize,
    /// The size of the value input; `model_dim` (for cross attention `k_dim`) unless given.
    pub v_dim: usize,
    /// Whether the projections have biases; true unless given.
    pub use_bias: bool,
    /// The probability with which training drops a weight; 0 unless given.
    pub dropout: f32,
    /// What the parameters are drawn from, and what training drops; 0 unless given.
    pub seed: u64,
    /// How positions turn projected queries and keys; not at all unless given.
    pub rotary: Option<RotaryOptions>,
}

impl AttentionConfig {
    /// The most elements that one parameter may have.
    pub(crate) const MOST_ELEMENTS: usize = i32::MAX as usize;

    /// The configuration of a layer of this kind.
    pub fn parse(json: &str, kind: LayerKind) -> Result<Self> {
        let mut given = GivenConfig::default();
        read_into!(given, Some(json), &[], |names| names, {
            "numHeads" => num_heads: count,
            "headDim" => head_dim: count,
            "modelDim" => model_dim: count,
            "kvHeads" => kv_heads: count,
            "kDim" => k_dim: count,
            "vDim" => v_dim: count,
            "useBias" => use_bias: optional_boolean,
            "dropout" => dropout: probability,
            "seed" => seed: seed,
            "rotary" => rotary: rotary,
        })?;
        let required = |name: &str, value: Option<usize>| value.ok_or_else(|| Error::option(name, COUNT, "nothing"));
        let num_heads = required("numHeads", given.num_heads)?;
        let head_dim = required("headDim", given.head_dim)?;
        let inner = num_heads.saturating_mul(head_dim);
        let model_dim = given.model_dim.unwrap_or(inner);
        let k_dim = given.k_dim.unwrap_or(model_dim);
        let config = Self {
            num_heads,
            head_dim,
            model_dim,
            kv_heads: given.kv_heads.unwrap_or(num_heads),
            k_dim,
            v_dim: given.v_dim.unwrap_or(if kind == LayerKind::CrossAttention { k_dim } else { model_dim }),
            use_bias: given.use_bias.unwrap_or(true),
            dropout: given.dropout,
            seed: given.seed,
            rotary: given.rotary.map(|json| RotaryOptions::parse_for_layer(&json, head_dim)).transpose()?,
        };
        config.check(kind)?;
        Ok(config)
    }

    /// The configuration as a JSON object under the names of the public interface.
    pub fn to_json(&self) -> String {
        let mut json = String::from("{");
        push_integers(
            &mut json,
            &[
                ("numHeads", self.num_heads as u64),
                ("headDim", self.head_dim as u64),
                ("modelDim", self.model_dim as u64),
                ("kvHeads", self.kv_heads as u64),
                ("kDim", self.k_dim as u64),
                ("vDim", self.v_dim as u64),
                ("seed", self.seed),
            ],
        );
        for text in ["\"useBias\":", boolean_text(self.use_bias), ",\"dropout\":"] {
            json.push_str(text);
        }
        push_fraction(&mut json, self.dropout);
        if let Some(rotary) = &self.rotary {
            json.push_str(",\"rotary\":{\"base\":");
            push_decimal(&mut json, rotary.base, &|number| number == rotary.base);
            let (interleaved, dim) = (rotary.interleaved, rotary.dim.unwrap_or(self.head_dim));
            let _ = write!(json, ",\"interleaved\":{interleaved},\"dim\":{dim}}}");
        }
        json.push('}');
        json
    }

    /// `num_heads · head_dim`: the width of the projected queries.
    pub fn query_width(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// `kv_heads · head_dim`: the width of the projected keys and values.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Whether query, key and value share an input size, so that PyTorch keeps their projections in one matrix.
    pub fn is_packed(&self) -> bool {
        self.k_dim == self.model_dim && self.v_dim == self.model_dim
    }

    fn check(&self, kind: LayerKind) -> Result<()> {
        if !self.num_heads.is_multiple_of(self.kv_heads) {
            return Err(Error::option("kvHeads", format!("a divisor of numHeads {}", self.num_heads), self.kv_heads));
        }
        let fits = |width: usize, inputs: usize| width.checked_mul(inputs).is_some_and(|n| n <= Self::MOST_ELEMENTS);
        let inner = self.num_heads.checked_mul(self.head_dim).and_then(|inner| inner.checked_mul(3));
        let widest = self.model_dim.max(self.k_dim).max(self.v_dim);
        if !inner.is_some_and(|inner| fits(inner, widest)) {
            return Err(Error::option(
                "headDim",
                format!("projections of at most {} elements", Self::MOST_ELEMENTS),
                format_args!("numHeads {}, headDim {}, input size {widest}", self.num_heads, self.head_dim),
            ));
        }
        match kind {
            LayerKind::SelfAttention if self.k_dim != self.model_dim => Err(Error::option(
                "kDim",
                format!("modelDim {}: self attention has one input", self.model_dim),
                self.k_dim,
            )),
            LayerKind::SelfAttention if self.v_dim != self.model_dim => Err(Error::option(
                "vDim",
                format!("modelDim {}: self attention has one input", self.model_dim),
                self.v_dim,
            )),
            LayerKind::CrossAttention if self.v_dim != self.k_dim => {
                Err(Error::option("vDim", format!("kDim {}: cross attention has one context", self.k_dim), self.v_dim))
            }
            _ => Ok(()),
        }
    }
}

pub(crate) const COUNT: &str = "an integer of at least 1";

pub(crate) fn layout(given: &Given<'_>) -> Result<Layout> {
    Ok([Layout::Bhld, Layout::Blhd][given.choice(&["bhld", "blhd"])?])
}

fn stage(given: &Given<'_>) -> Result<Option<Stage>> {
    let stages = [Stage::Scores, Stage::Softcapped, Stage::Biased, Stage::Weights];
    Ok(Some(stages[given.choice(&["scores", "softcapped", "biased", "weights"])?]))
}

pub(crate) fn query_offset(given: &Given<'_>) -> Result<i64> {
    given.integer(i32::MIN.into(), i32::MAX.into(), "an integer of 32 bits or an Int32Array")
}

pub(crate) fn window(given: &Given<'_>) -> Result<Option<[i64; 2]>> {
    given.pair(-1, "two integers of at least -1, where -1 leaves a side open").map(Some)
}

pub(crate) fn non_negative(given: &Given<'_>) -> Result<f32> {
    given.number(0.0..f32::INFINITY, "a finite number of at least 0")
}

/// The factor of the scores, if it is given.
pub(crate) fn score_scale(given: &Given<'_>) -> Result<Option<f32>> {
    given.number(f32::MIN..f32::INFINITY, "a finite number").map(Some)
}

pub(crate) fn probability(given: &Given<'_>) -> Result<f32> {
    given.number(0.0..1.0, "a number of at least 0 and less than 1")
}

pub(crate) fn seed(given: &Given<'_>) -> Result<u64> {
    given.integer(0, i64::MAX, "an integer from 0 to 2^53 - 1").map(|seed| seed as u64)
}

pub(crate) fn optional_seed(given: &Given<'_>) -> Result<Option<u64>> {
    seed(given).map(Some)
}

fn rotary(given: &Given<'_>) -> Result<Option<String>> {
    given.object("an object { base, interleaved, dim }").map(|json| Some(json.to_owned()))
}

pub(crate) fn optional_boolean(given: &Given<'_>) -> Result<Option<bool>> {
    given.boolean().map(Some)
}

pub(crate) fn count(given: &Given<'_>) -> Result<Option<usize>> {
    let count = given.integer(1, i64::MAX, COUNT)?;
    // What memory cannot count is refused with the sizes that it makes.
    Ok(Some(usize::try_from(count).unwrap_or(usize::MAX)))
}

/// Appends members of an object, each with a comma behind it.
pub(crate) fn push_integers(json: &mut String, members: &[(&str, u64)]) {
    for (name, value) in members {
        // Writing to a String does not fail.
        let _ = write!(json, "\"{name}\":{value},");
    }
}

pub(crate) fn boolean_text(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// Appends a number from 0 to 2⁵³ as the shortest decimal that reads back as the same f32.
pub(crate) fn push_fraction(json: &mut String, fraction: f32) {
    push_decimal(json, fraction.into(), &|decimal| decimal as f32 == fraction);
}

/// Appends a number from 0 to 2⁵³ as the shortest decimal that `means` it.
fn push_decimal(json: &mut String, number: f64, means: &dyn Fn(f64) -> bool) {
    let whole = number.trunc();
    let (mut digits, mut power) = (0, 1.0);
    // The smallest f32 has 45 places before its first digit.
    for _ in 0..60 {
        let candidate = ((number - whole) * power).round();
        if means(whole + candidate / power) {
            // Writing to a String does not fail.
            let _ = match digits {
                0 => write!(json, "{}", (whole + candidate) as u64),
                _ => write!(json, "{}.{:0digits$}", whole as u64, candidate as u64),
            };
            return;
        }
        digits += 1;
        power *= 10.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn fault<T: std::fmt::Debug>(result: Result<T>) -> (Code, String, String, String) {
        let error = result.unwrap_err();
        (error.code, error.argument.clone(), error.expected.clone(), error.actual.clone())
    }

    fn option_fault(json: &str) -> (String, String, String) {
        let (code, argument, expected, actual) = fault(AttentionOptions::parse(Some(json)));
        assert_eq!(code, Code::Option, "{json}");
        (argument, expected, actual)
    }

    #[test]
    fn absent_and_null_options_take_their_defaults() {
        let defaults = AttentionOptions::default();
        assert_eq!(AttentionOptions::parse(None), Ok(defaults.clone()));
        assert_eq!(AttentionOptions::parse(Some("{}")), Ok(defaults.clone()));
        let nulls = r#"{"layout":null,"causal":null,"queryOffset":null,"window":null,"scale":null,"softcap":null,
            "dropout":null,"seed":null,"weights":null,"topWeights":null,"logSumExp":null}"#;
        assert_eq!(AttentionOptions::parse(Some(nulls)), Ok(defaults));
    }

    #[test]
    fn every_option_is_read() {
        let json = r#"{"layout":"blhd","causal":true,"queryOffset":-3,"window":[4,-1],"scale":0.5,"softcap":30,
            "dropout":0.25,"seed":9007199254740991,"weights":true,"topWeights":2,"logSumExp":true}"#;
        let expected = AttentionOptions {
            layout: Layout::Blhd,
            causal: true,
            query_offset: -3,
            window: Some([4, -1]),
            scale: Some(0.5),
            softcap: 30.0,
            dropout: 0.25,
            seed: (1 << 53) - 1,
            weights: true,
            top_weights: Some(2),
            log_sum_exp: true,
            stage: None,
            block_size: None,
        };
        assert_eq!(AttentionOptions::parse(Some(json)), Ok(expected));
    }

    #[test]
    fn whole_floats_are_integers_and_zero_scale_is_legal() {
        let options = AttentionOptions::parse(Some(r#"{"seed":7.0,"window":[1e3,-1.0],"scale":0,"softcap":-0.0}"#));
        let options = options.unwrap();
        assert_eq!((options.seed, options.window, options.scale), (7, Some([1000, -1]), Some(0.0)));
    }

    #[test]
    fn an_unknown_name_is_told_with_the_nearest_known_one() {
        let nearest = |json| {
            let (argument, expected, actual) = option_fault(json);
            assert_eq!(actual, "an unknown name");
            (argument, expected)
        };
        let text = |name: &str| format!("a known option; the nearest is '{name}'");
        assert_eq!(nearest(r#"{"isCausal":true}"#), ("isCausal".into(), text("causal")));
        assert_eq!(nearest(r#"{"attn_mask":[]}"#), ("attn_mask".into(), text("mask")));
        assert_eq!(nearest(r#"{"kvLength":null}"#), ("kvLength".into(), text("kvLengths")));
        assert_eq!(nearest(r#"{"dropOut":0.1}"#), ("dropOut".into(), text("dropout")));
        // Known to attentionWeights only.
        assert_eq!(nearest(r#"{"stage":"scores"}"#), ("stage".into(), text("scale")));
        assert_eq!(nearest(r#"{"stage":null}"#).0, "stage");
    }

    #[test]
    fn a_wrong_value_is_told_with_what_the_option_takes() {
        for (json, argument, expected, actual) in [
            (r#"{"causal":1}"#, "causal", "a boolean", "1"),
            (r#"{"weights":"yes"}"#, "weights", "a boolean", "\"yes\""),
            (r#"{"layout":"bldh"}"#, "layout", "'bhld' or 'blhd'", "\"bldh\""),
            (r#"{"layout":4}"#, "layout", "'bhld' or 'blhd'", "4"),
            (r#"{"scale":"NaN"}"#, "scale", "a finite number", "NaN"),
            (r#"{"scale":"-Infinity"}"#, "scale", "a finite number", "-Infinity"),
            (r#"{"scale":1e300}"#, "scale", "a finite number", "1e300"),
            (r#"{"softcap":"Infinity"}"#, "softcap", "a finite number of at least 0", "Infinity"),
            (r#"{"softcap":true}"#, "softcap", "a finite number of at least 0", "true"),
            (r#"{"dropout":1}"#, "dropout", "a number of at least 0 and less than 1", "1"),
            (r#"{"dropout":-0.5}"#, "dropout", "a number of at least 0 and less than 1", "-0.5"),
            (r#"{"dropout":"NaN"}"#, "dropout", "a number of at least 0 and less than 1", "NaN"),
            (r#"{"seed":0.5}"#, "seed", "an integer from 0 to 2^53 - 1", "0.5"),
            (r#"{"seed":9007199254740992}"#, "seed", "an integer from 0 to 2^53 - 1", "9007199254740992"),
            (r#"{"topWeights":0}"#, "topWeights", "an integer of at least 1", "0"),
            (r#"{"topWeights":true}"#, "topWeights", "an integer of at least 1", "true"),
            (r#"{"queryOffset":2147483648}"#, "queryOffset", "an integer of 32 bits or an Int32Array", "2147483648"),
            (r#"{"queryOffset":[1]}"#, "queryOffset", "an integer of 32 bits or an Int32Array", "[1]"),
        ] {
            assert_eq!(option_fault(json), (argument.into(), expected.into(), actual.into()), "{json}");
        }
        for window in ["[1]", "[1,2,3]", "[1,-2]", "[0.5,1]", "[null,1]", "3", r#"[1,"Infinity"]"#, r#"{"left":1}"#] {
            let (argument, expected, actual) = option_fault(&format!(r#"{{"window":{window}}}"#));
            assert_eq!(argument, "window");
            assert_eq!(expected, "two integers of at least -1, where -1 leaves a side open");
            assert_eq!(actual, window);
        }
    }

    #[test]
    fn text_that_is_not_json_is_an_internal_fault() {
        assert_eq!(fault(AttentionOptions::parse(Some("{"))).0, Code::Internal);
        assert_eq!(option_fault("[1]"), ("options".into(), "an object".into(), "[1]".into()));
    }

    #[test]
    fn attention_weights_takes_a_stage_and_refuses_further_results() {
        let parse = |json| AttentionOptions::parse_for_weights(Some(json));
        assert_eq!(parse(r#"{"stage":"biased"}"#).unwrap().stage, Some(Stage::Biased));
        assert_eq!(parse(r#"{"weights":false,"logSumExp":null}"#).unwrap().stage, None);
        let (_, argument, expected, actual) = fault(parse(r#"{"stage":"logits"}"#));
        assert_eq!(argument, "stage");
        assert_eq!(expected, "'scores', 'softcapped', 'biased' or 'weights'");
        assert_eq!(actual, "\"logits\"");
        for (json, name, written) in [
            (r#"{"weights":true}"#, "weights", "true"),
            (r#"{"topWeights":3}"#, "topWeights", "3"),
            (r#"{"logSumExp":true}"#, "logSumExp", "true"),
        ] {
            let (code, argument, _, actual) = fault(parse(json));
            assert_eq!((code, argument.as_str(), actual.as_str()), (Code::Option, name, written));
        }
    }

    #[test]
    fn layer_options_know_their_own_names() {
        let options = LayerOptions::parse(Some(r#"{"averageWeights":true,"seed":5,"causal":true}"#)).unwrap();
        assert_eq!((options.average_weights, options.seed, options.causal), (true, Some(5), true));
        let (_, argument, expected, _) = fault(LayerOptions::parse(Some(r#"{"averageWeight":true}"#)));
        assert_eq!(argument, "averageWeight");
        assert_eq!(expected, "a known option; the nearest is 'averageWeights'");
        assert_eq!(fault(LayerOptions::parse(Some(r#"{"dropout":0.5}"#))).1, "dropout");
    }

    #[test]
    fn fractions_are_written_as_the_shortest_decimals_that_mean_them() {
        for fraction in
            [0.0, 1.0, 0.1, 0.25, 1.0 / 3.0, 0.05, 1e-7, 1.0 - f32::EPSILON / 2.0, f32::MIN_POSITIVE, 1e-45, 0.7]
        {
            let mut json = String::new();
            push_fraction(&mut json, fraction);
            assert_eq!(json.parse(), Ok(fraction), "{json}");
            assert!(json.len() <= format!("{fraction}").len(), "{json}");
        }
        for number in [1.0, 10_000.0, 500_000.5, 10_000.1, 1.0 + f64::EPSILON, 1_234.567_890_123, 999_999_999_999_999.9]
        {
            let mut json = String::new();
            push_decimal(&mut json, number, &|decimal| decimal == number);
            assert_eq!(json, number.to_string());
        }
    }

    #[test]
    fn a_configuration_fills_its_defaults() {
        let json = r#"{"numHeads":4,"headDim":8}"#;
        let config = AttentionConfig::parse(json, LayerKind::MultiHead).unwrap();
        let expected = r#"{"numHeads":4,"headDim":8,"modelDim":32,"kvHeads":4,"kDim":32,"vDim":32,"seed":0,"useBias":true,"dropout":0}"#;
        assert_eq!(config.to_json(), expected);
        assert!(config.is_packed());
        let json = r#"{"numHeads":4,"headDim":8,"kvHeads":2,"modelDim":20,"kDim":24,"useBias":false}"#;
        let config = AttentionConfig::parse(json, LayerKind::CrossAttention).unwrap();
        assert_eq!((config.k_dim, config.v_dim, config.use_bias), (24, 24, false));
        assert_eq!((config.query_width(), config.kv_width(), config.is_packed()), (32, 16, false));
        let config = AttentionConfig::parse(json, LayerKind::MultiHead).unwrap();
        assert_eq!((config.k_dim, config.v_dim), (24, 20));
    }

    #[test]
    fn a_configuration_that_cannot_be_is_told() {
        use LayerKind::{CrossAttention, MultiHead, SelfAttention};
        for (kind, json, argument, expected, actual) in [
            (MultiHead, r#"{"headDim":8}"#, "numHeads", COUNT, "nothing"),
            (MultiHead, r#"{"numHeads":8,"headDim":null}"#, "headDim", COUNT, "nothing"),
            (MultiHead, r#"{"numHeads":0,"headDim":8}"#, "numHeads", COUNT, "0"),
            (MultiHead, r#"{"numHeads":2.5,"headDim":8}"#, "numHeads", COUNT, "2.5"),
            (MultiHead, r#"{"numHeads":6,"headDim":8,"kvHeads":4}"#, "kvHeads", "a divisor of numHeads 6", "4"),
            (MultiHead, r#"{"numHeads":6,"headDim":8,"useBias":0}"#, "useBias", "a boolean", "0"),
            (
                SelfAttention,
                r#"{"numHeads":2,"headDim":4,"kDim":9}"#,
                "kDim",
                "modelDim 8: self attention has one input",
                "9",
            ),
            (
                SelfAttention,
                r#"{"numHeads":2,"headDim":4,"vDim":9}"#,
                "vDim",
                "modelDim 8: self attention has one input",
                "9",
            ),
            (
                CrossAttention,
                r#"{"numHeads":2,"headDim":4,"kDim":9,"vDim":7}"#,
                "vDim",
                "kDim 9: cross attention has one context",
                "7",
            ),
        ] {
            let found = fault(AttentionConfig::parse(json, kind));
            assert_eq!(found, (Code::Option, argument.into(), expected.into(), actual.into()), "{json}");
        }
        let json = r#"{"numHeads":9007199254740991,"headDim":9007199254740991}"#;
        assert_eq!(fault(AttentionConfig::parse(json, MultiHead)).1, "headDim");
        assert_eq!(
            fault(AttentionConfig::parse(r#"{"numHeads":8,"headDim":8,"embedDim":64}"#, MultiHead)).1,
            "embedDim"
        );
    }
}
