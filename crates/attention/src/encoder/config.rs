//! The configuration of an encoder layer.

use crate::error::{Error, Result};
use crate::math::activation::Activation;
use crate::options::parse::{Given, read_into, read_options};
use crate::options::{AttentionConfig, COUNT, boolean_text, count, probability, push_fraction, push_integers, seed};

/// The configuration with every default filled in; the defaults are PyTorch's.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderConfig {
    /// The size of input and output.
    pub model_dim: usize,
    /// Attention heads, a divisor of `model_dim`.
    pub num_heads: usize,
    /// The size between the two projections of the feed-forward network; 2048 unless given.
    pub feed_forward_dim: usize,
    /// What lies between them: ReLU, unless GELU is given.
    pub activation: Activation,
    /// Whether each part normalises its input, rather than the sum of input and output.
    pub norm_first: bool,
    /// What the norms add to the variance, less than 1; 10⁻⁵ unless given.
    pub epsilon: f32,
    /// The probability with which training drops a value; 0.1 unless given.
    pub dropout: f32,
    /// What the parameters are drawn from, and what training drops; 0 unless given.
    pub seed: u64,
}

/// The configuration as the caller gave it.
struct GivenConfig {
    model_dim: Option<usize>,
    num_heads: Option<usize>,
    feed_forward_dim: Option<usize>,
    activation: Activation,
    norm_first: bool,
    epsilon: f32,
    dropout: f32,
    seed: u64,
}

impl EncoderConfig {
    /// The configuration that a JSON object describes.
    pub fn parse(json: &str) -> Result<Self> {
        let mut given = GivenConfig {
            model_dim: None,
            num_heads: None,
            feed_forward_dim: Some(2048),
            activation: Activation::Relu,
            norm_first: false,
            epsilon: 1e-5,
            dropout: 0.1,
            seed: 0,
        };
        read_into!(given, Some(json), &[], |names| names, {
            "modelDim" => model_dim: count,
            "numHeads" => num_heads: count,
            "feedForwardDim" => feed_forward_dim: count,
            "activation" => activation: activation,
            "normFirst" => norm_first: Given::boolean,
            "epsilon" => epsilon: probability,
            "dropout" => dropout: probability,
            "seed" => seed: seed,
        })?;
        let required = |name: &str, value: Option<usize>| value.ok_or_else(|| Error::option(name, COUNT, "nothing"));
        let config = Self {
            model_dim: required("modelDim", given.model_dim)?,
            num_heads: required("numHeads", given.num_heads)?,
            feed_forward_dim: required("feedForwardDim", given.feed_forward_dim)?,
            activation: given.activation,
            norm_first: given.norm_first,
            epsilon: given.epsilon,
            dropout: given.dropout,
            seed: given.seed,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let &Self { model_dim, num_heads, feed_forward_dim, .. } = self;
        if !model_dim.is_multiple_of(num_heads) {
            return Err(Error::option("numHeads", format_args!("a divisor of modelDim {model_dim}"), num_heads));
        }
        let most = AttentionConfig::MOST_ELEMENTS;
        // All parameters beside the attention's lie in one vector.
        let fits = |width: usize| width.checked_mul(2 * model_dim.min(most)).is_some_and(|elements| elements <= most);
        for (name, width, value) in [
            ("modelDim", model_dim.saturating_mul(3), model_dim),
            ("feedForwardDim", feed_forward_dim.saturating_add(5), feed_forward_dim),
        ] {
            if !fits(width) {
                return Err(Error::option(name, format_args!("projections of at most {most} elements"), value));
            }
        }
        Ok(())
    }

    /// The configuration of the self attention.
    pub(crate) fn attention(&self) -> AttentionConfig {
        AttentionConfig {
            num_heads: self.num_heads,
            head_dim: self.model_dim / self.num_heads,
            model_dim: self.model_dim,
            kv_heads: self.num_heads,
            k_dim: self.model_dim,
            v_dim: self.model_dim,
            use_bias: true,
            dropout: self.dropout,
            seed: self.seed,
            rotary: None,
        }
    }

    /// The configuration as a JSON object under the names of the public interface.
    pub fn to_json(&self) -> String {
        let mut json = String::from("{");
        push_integers(
            &mut json,
            &[
                ("modelDim", self.model_dim as u64),
                ("numHeads", self.num_heads as u64),
                ("feedForwardDim", self.feed_forward_dim as u64),
                ("seed", self.seed),
            ],
        );
        let activation = if self.activation == Activation::Relu { "relu" } else { "gelu" };
        for text in
            ["\"activation\":\"", activation, "\",\"normFirst\":", boolean_text(self.norm_first), ",\"epsilon\":"]
        {
            json.push_str(text);
        }
        push_fraction(&mut json, self.epsilon);
        json.push_str(",\"dropout\":");
        push_fraction(&mut json, self.dropout);
        json.push('}');
        json
    }
}

fn activation(given: &Given<'_>) -> Result<Activation> {
    Ok([Activation::Relu, Activation::Gelu][given.choice(&["relu", "gelu"])?])
}
