//! The parameters of the graph layers: PyTorch Geometric's names, order and initialisation.

use std::borrow::Cow;

use super::options::{GraphConfig, Kind};
use crate::error::{Code, Error, Result};
use crate::math::random::Mt19937;
use crate::options::alternatives;
use crate::tensor::{Shape, try_zeroed};
use crate::weights::Entry;

/// How a parameter is drawn at first.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Initial {
    Zeros,
    /// Uniform in ±√(6 / (rows + columns)).
    Glorot,
    /// As `torch.nn.Linear` draws the weight over so many inputs.
    Weight(usize),
    /// As `torch.nn.Linear` draws the bias over so many inputs.
    Bias(usize),
}

/// One parameter by its name in PyTorch Geometric.
#[derive(Debug, Clone, PartialEq)]
struct Parameter {
    name: &'static str,
    shape: Vec<usize>,
    initial: Initial,
    data: Vec<f32>,
}

/// Every parameter of a layer, in the order of PyTorch Geometric's state dict: the layer's own, then those of its parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters(Vec<Parameter>);

/// Names that older releases gave to a parameter: those of `GATConv` up to 2.4, which had one under two names.
const OLDER_NAMES: [(&str, &str); 2] = [("lin_src.weight", "lin.weight"), ("lin_dst.weight", "lin.weight")];

impl Parameters {
    /// Parameters of zeros.
    fn zeroed(config: &GraphConfig) -> Result<Self> {
        use Initial::{Bias, Glorot, Weight, Zeros};
        let GraphConfig { in_features: inputs, out_features: channels, num_heads: heads, use_bias, .. } = *config;
        let (width, output) = (config.width(), config.output_width());
        let mut list: Vec<(&'static str, &[usize], Initial)> = Vec::new();
        let (attention, matrix, skip) = ([1, heads, channels], [width, inputs], [output, inputs]);
        let (edge_inputs, edges) = config.edge_features.map_or((0, [0; 2]), |size| (size, [width, size]));
        let (output, wide, gate) = ([output], [width], [1, 3 * output]);
        match config.kind {
            Kind::Convolution => list.extend([("bias", &output[..], Zeros), ("lin.weight", &matrix, Glorot)]),
            Kind::Sage => list.extend([
                ("lin_l.weight", &matrix[..], Weight(inputs)),
                ("lin_l.bias", &wide, Bias(inputs)),
                ("lin_r.weight", &matrix, Weight(inputs)),
            ]),
            Kind::Attention if config.version == 1 => list.extend([
                ("att_src", &attention[..], Glorot),
                ("att_dst", &attention, Glorot),
                ("att_edge", &attention, Glorot),
                ("bias", &output, Zeros),
                ("lin.weight", &matrix, Glorot),
                ("lin_edge.weight", &edges, Glorot),
            ]),
            Kind::Attention => list.extend([
                ("att", &attention[..], Glorot),
                ("bias", &output, Zeros),
                ("lin_l.weight", &matrix, Glorot),
                ("lin_l.bias", &wide, Bias(inputs)),
                ("lin_r.weight", &matrix, Glorot),
                ("lin_r.bias", &wide, Bias(inputs)),
                ("lin_edge.weight", &edges, Glorot),
            ]),
            Kind::Transformer => list.extend([
                ("lin_key.weight", &matrix[..], Weight(inputs)),
                ("lin_key.bias", &wide, Bias(inputs)),
                ("lin_query.weight", &matrix, Weight(inputs)),
                ("lin_query.bias", &wide, Bias(inputs)),
                ("lin_value.weight", &matrix, Weight(inputs)),
                ("lin_value.bias", &wide, Bias(inputs)),
                ("lin_edge.weight", &edges, Weight(edge_inputs)),
                ("lin_skip.weight", &skip, Weight(inputs)),
                ("lin_skip.bias", &output, Bias(inputs)),
                ("lin_beta.weight", &gate, Weight(gate[1])),
            ]),
        }
        let is_there = |name: &str| match name {
            "lin_beta.weight" => config.beta,
            _ if name.ends_with("bias") => use_bias,
            _ => !name.contains("edge") || config.edge_features.is_some(),
        };
        let mut parameters = Vec::with_capacity(list.len());
        for (name, shape, initial) in list.into_iter().filter(|(name, ..)| is_there(name)) {
            let data = try_zeroed("parameters", shape.iter().product())?;
            parameters.push(Parameter { name, shape: shape.to_vec(), initial, data });
        }
        Ok(Self(parameters))
    }

    /// The parameters that the layer of PyTorch Geometric draws after `torch.manual_seed(seed)`, bit for bit.
    ///
    /// # Errors
    /// `MEMORY`.
    pub fn init(config: &GraphConfig) -> Result<Self> {
        let mut parameters = Self::zeroed(config)?;
        let mut generator = Mt19937::new(config.seed);
        // Each part draws when it is made and again when the whole layer is reset, which then draws what is its own.
        for parts in [true, true, false] {
            for parameter in parameters.0.iter_mut().filter(|parameter| parameter.name.contains('.') == parts) {
                parameter.draw(&mut generator);
            }
        }
        Ok(parameters)
    }

    /// The parameters that `entries` hold under `prefix`. Entries outside the prefix do not count.
    ///
    /// # Errors
    /// `SHAPE` or `FORMAT` for missing, further and wrongly shaped entries.
    pub fn load(config: &GraphConfig, entries: &[Entry<'_>], prefix: &str) -> Result<Self> {
        let dot = if prefix.is_empty() || prefix.ends_with('.') { "" } else { "." };
        let mut parameters = Self::zeroed(config)?;
        let mut found: Vec<Option<&[f32]>> = vec![None; parameters.0.len()];
        for entry in entries {
            let name = entry.name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix(dot));
            let Some(name) = name else { continue };
            let index = parameters.index_of(name).ok_or_else(|| parameters.unknown(config, name, entry))?;
            let Parameter { shape, data, .. } = &mut parameters.0[index];
            if entry.shape != *shape {
                let expected = Shape::new(&entry.name, shape)?;
                return Err(Error::shape(&*entry.name, expected.to_string(), Shape::new(&entry.name, &entry.shape)?));
            }
            if found[index].is_some_and(|earlier| earlier != entry.data) {
                let actual = "two entries of different values";
                return Err(Error::new(
                    Code::Format,
                    &*entry.name,
                    "one transformation of sources and targets",
                    actual,
                ));
            }
            data.copy_from_slice(entry.data);
            found[index] = Some(entry.data);
        }
        match parameters.0.iter().zip(found).find(|(_, found)| found.is_none()) {
            Some((Parameter { name, shape, .. }, _)) => {
                let expected = format!("an entry of shape {}", Shape::new(name, shape)?);
                Err(Error::new(Code::Format, format!("{prefix}{dot}{name}"), expected, "no such entry"))
            }
            None => Ok(parameters),
        }
    }

    /// Names, shapes and elements in the order of PyTorch Geometric's state dict.
    pub fn entries(&self) -> Vec<Entry<'_>> {
        let entry = |parameter: &'static str, shape: &[usize], data| Entry {
            name: Cow::Borrowed(parameter),
            shape: shape.to_vec(),
            data,
        };
        self.0.iter().map(|parameter| entry(parameter.name, &parameter.shape, &parameter.data)).collect()
    }

    /// The elements of a parameter, if the layer has it.
    pub fn find(&self, name: &str) -> Option<&[f32]> {
        self.0.iter().find(|parameter| parameter.name == name).map(|parameter| &*parameter.data)
    }

    /// The elements of a parameter that the layer has.
    pub fn get(&self, name: &str) -> &[f32] {
        self.find(name).unwrap_or_default()
    }

    fn index_of(&self, name: &str) -> Option<usize> {
        let position = |name: &str| self.0.iter().position(|parameter| parameter.name == name);
        let older = || OLDER_NAMES.iter().find(|(older, _)| *older == name);
        position(name).or_else(|| position(older()?.1))
    }

    /// The error about an entry that is no parameter.
    #[cold]
    fn unknown(&self, config: &GraphConfig, name: &str, entry: &Entry<'_>) -> Error {
        if name.ends_with("bias") && !config.use_bias {
            return Error::new(Code::Format, &*entry.name, "no biases, as useBias is false", "a bias");
        }
        let names: Vec<&str> = self.0.iter().map(|parameter| parameter.name).collect();
        let expected = format!("one of {}", alternatives(&names));
        Error::new(Code::Format, &*entry.name, expected, "an entry that is no parameter of this layer")
    }
}

impl Parameter {
    fn draw(&mut self, generator: &mut Mt19937) {
        let slope = 5f64.sqrt();
        let bound = match self.initial {
            Initial::Zeros => return,
            Initial::Glorot => (6.0 / self.shape.iter().rev().take(2).sum::<usize>() as f64).sqrt(),
            Initial::Weight(inputs) => (6.0 / ((1.0 + slope * slope) * inputs as f64)).sqrt(),
            Initial::Bias(inputs) => 1.0 / (inputs as f64).sqrt(),
        };
        generator.fill_uniform(bound, &mut self.data);
    }
}
