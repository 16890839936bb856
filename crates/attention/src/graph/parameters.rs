//! The parameters of the graph layers: PyTorch Geometric's names, order and initialisation.

use std::borrow::Cow;
use std::fmt::Display;

use super::options::{Kind, Settings};
use crate::error::alternatives;
use crate::error::{Code, Error, Result};
use crate::layers::{Entry, LoadOptions};
use crate::math::random::Mt19937;
use crate::tensor::{Shape, Tensor, try_zeroed};

/// How a parameter is drawn at first.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Initial {
    Zeros,
    /// Uniform in ±√(6 / (rows + columns)).
    Glorot,
    /// As `torch.nn.Linear` draws its weight.
    Weight,
    /// As `torch.nn.Linear` draws its bias.
    Bias,
}

/// The rule for the size of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Size {
    /// `[1, heads, channels]`.
    Attention,
    /// `[heads · channels, inputs]`, of sources.
    Matrix,
    /// `[heads · channels, inputs]`, of targets.
    TargetMatrix,
    /// `[heads · channels, edge features]`.
    Edge,
    /// `[inputs, inputs]`, of sources.
    Project,
    /// `[output, inputs]`, of targets.
    Skip,
    /// `[1, 3 · output]`.
    Gate,
    /// `[heads · channels]`.
    WideBias,
    /// `[output]`.
    OutputBias,
    /// `[inputs]`, of sources.
    ProjectBias,
}

/// The layers that have a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
enum When {
    Always,
    /// With biases.
    Bias,
    /// If edges have features.
    Edge,
    /// With a gate.
    Gate,
    /// With a residual connection.
    Residual,
    /// With the node's own features.
    Root,
    /// If the features of neighbors are projected first.
    Project,
    /// If sources and targets share a weight.
    Shared,
    /// If they do not.
    Pair,
}

/// A parameter's name in PyTorch Geometric, the layers that have it, its size, and how it is drawn.
type Description = (&'static str, When, Size, Initial);

const BIAS: Description = ("bias", When::Bias, Size::OutputBias, Initial::Zeros);
const EDGE: Description = ("lin_edge.weight", When::Edge, Size::Edge, Initial::Glorot);
const RESIDUAL: Description = ("res.weight", When::Residual, Size::Skip, Initial::Glorot);

const CONVOLUTION: &[Description] = &[BIAS, ("lin.weight", When::Always, Size::Matrix, Initial::Glorot)];
const SAGE: &[Description] = &[
    ("lin.weight", When::Project, Size::Project, Initial::Weight),
    ("lin.bias", When::Project, Size::ProjectBias, Initial::Bias),
    ("lin_l.weight", When::Always, Size::Matrix, Initial::Weight),
    ("lin_l.bias", When::Bias, Size::WideBias, Initial::Bias),
    ("lin_r.weight", When::Root, Size::TargetMatrix, Initial::Weight),
];
const ADDITIVE: &[Description] = &[
    ("att_src", When::Always, Size::Attention, Initial::Glorot),
    ("att_dst", When::Always, Size::Attention, Initial::Glorot),
    ("att_edge", When::Edge, Size::Attention, Initial::Glorot),
    BIAS,
    ("lin.weight", When::Shared, Size::Matrix, Initial::Glorot),
    ("lin_src.weight", When::Pair, Size::Matrix, Initial::Glorot),
    ("lin_dst.weight", When::Pair, Size::TargetMatrix, Initial::Glorot),
    EDGE,
    RESIDUAL,
];
const JOINT: &[Description] = &[
    ("att", When::Always, Size::Attention, Initial::Glorot),
    BIAS,
    ("lin_l.weight", When::Always, Size::Matrix, Initial::Glorot),
    ("lin_l.bias", When::Bias, Size::WideBias, Initial::Bias),
    ("lin_r.weight", When::Always, Size::TargetMatrix, Initial::Glorot),
    ("lin_r.bias", When::Bias, Size::WideBias, Initial::Bias),
    EDGE,
    RESIDUAL,
];
const TRANSFORMER: &[Description] = &[
    ("lin_key.weight", When::Always, Size::Matrix, Initial::Weight),
    ("lin_key.bias", When::Bias, Size::WideBias, Initial::Bias),
    ("lin_query.weight", When::Always, Size::TargetMatrix, Initial::Weight),
    ("lin_query.bias", When::Bias, Size::WideBias, Initial::Bias),
    ("lin_value.weight", When::Always, Size::Matrix, Initial::Weight),
    ("lin_value.bias", When::Bias, Size::WideBias, Initial::Bias),
    ("lin_edge.weight", When::Edge, Size::Edge, Initial::Weight),
    ("lin_skip.weight", When::Always, Size::Skip, Initial::Weight),
    ("lin_skip.bias", When::Bias, Size::OutputBias, Initial::Bias),
    ("lin_beta.weight", When::Gate, Size::Gate, Initial::Weight),
];

/// One parameter of a layer: where its elements lie among all.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Parameter {
    name: &'static str,
    shape: Shape,
    initial: Initial,
    start: usize,
    end: usize,
}

/// Every parameter of a layer in the order of PyTorch Geometric's state dict: its own first, then those of its parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    list: Vec<Parameter>,
    elements: Vec<f32>,
}

impl When {
    fn holds(self, settings: &Settings) -> bool {
        match self {
            Self::Always => true,
            Self::Bias => settings.use_bias,
            Self::Edge => settings.edge_features > 0,
            Self::Gate => settings.beta,
            Self::Residual => settings.residual,
            Self::Root => settings.root_weight,
            Self::Project => settings.project,
            Self::Shared => !settings.is_pair,
            Self::Pair => settings.is_pair,
        }
    }
}

impl Size {
    fn shape(self, settings: &Settings) -> Result<Shape> {
        let ([sources, targets], width, output) = (settings.in_features, settings.width(), settings.output_width());
        let dims: &[usize] = match self {
            Self::Attention => &[1, settings.num_heads, settings.out_features],
            Self::Matrix => &[width, sources],
            Self::TargetMatrix => &[width, targets],
            Self::Edge => &[width, settings.edge_features],
            Self::Project => &[sources, sources],
            Self::Skip => &[output, targets],
            Self::Gate => &[1, 3 * output],
            Self::WideBias => &[width],
            Self::OutputBias => &[output],
            Self::ProjectBias => &[sources],
        };
        Shape::new("parameters", dims)
    }
}

impl Parameters {
    /// How many numbers they are.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Parameters of zeros.
    fn zeroed(settings: &Settings) -> Result<Self> {
        let descriptions = match settings.kind {
            Kind::Convolution => CONVOLUTION,
            Kind::Sage => SAGE,
            Kind::Attention if settings.is_additive => ADDITIVE,
            Kind::Attention => JOINT,
            Kind::Transformer => TRANSFORMER,
        };
        let mut list = Vec::with_capacity(descriptions.len());
        let mut end = 0usize;
        for &(name, when, size, initial) in descriptions {
            if when.holds(settings) {
                let (shape, start) = (size.shape(settings)?, end);
                // Each is within range, but in 32 bits their sum may not be.
                end = start.saturating_add(shape.dims().iter().product());
                list.push(Parameter { name, shape, initial, start, end });
            }
        }
        Ok(Self { list, elements: try_zeroed("parameters", end)? })
    }

    /// The parameters that the layer of PyTorch Geometric draws after `torch.manual_seed(seed)`, bit for bit.
    ///
    /// # Errors
    /// `MEMORY`.
    pub(super) fn init(settings: &Settings) -> Result<Self> {
        let Self { list, mut elements } = Self::zeroed(settings)?;
        let mut generator = Mt19937::new(settings.seed);
        // Each part draws when it is made and again when the whole layer is reset, which then draws what is its own.
        let mut inputs = 0;
        for parts in [true, true, false] {
            for &Parameter { name, shape, initial, start, end } in &list {
                if name.contains('.') != parts {
                    continue;
                }
                let slope = 5f64.sqrt();
                let (rows, columns) = match *shape.dims() {
                    [.., rows, columns] => (rows, columns),
                    // A bias follows its weight.
                    _ => (0, inputs),
                };
                inputs = columns;
                let square = match initial {
                    Initial::Zeros => continue,
                    Initial::Glorot => 6.0 / (rows + columns) as f64,
                    Initial::Weight => 6.0 / ((1.0 + slope * slope) * columns as f64),
                    Initial::Bias => 1.0 / columns as f64,
                };
                generator.fill_uniform(square.sqrt(), &mut elements[start..end]);
            }
        }
        Ok(Self { list, elements })
    }

    /// The parameters that `entries` hold under a prefix. Entries outside the prefix do not count.
    ///
    /// Up to release 2.4 the one weight of `GATConv` had two names, `lin_src.weight` and `lin_dst.weight`.
    ///
    /// # Errors
    /// `SHAPE` or `FORMAT` for missing, further and wrongly shaped entries.
    pub(super) fn load(settings: &Settings, entries: &[Entry<'_>], options: LoadOptions<'_>) -> Result<Self> {
        let LoadOptions { prefix, strict } = options;
        let dot = if prefix.is_empty() || prefix.ends_with('.') { "" } else { "." };
        let Self { list, mut elements } = Self::zeroed(settings)?;
        let mut found = 0u32;
        for entry in entries {
            let name = entry.name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix(dot));
            let name = match name {
                None => continue,
                Some("lin_src.weight" | "lin_dst.weight") if !settings.is_pair => "lin.weight",
                Some(name) => name,
            };
            let Some(index) = list.iter().position(|parameter| parameter.name == name) else {
                if strict {
                    return Err(unknown(&list, settings, entry));
                }
                continue;
            };
            let Parameter { shape, start, end, .. } = list[index];
            let given = Tensor::new(&entry.name, entry.data, &entry.shape)?.shape;
            if given != shape {
                return Err(Error::shape(&entry.name, shape, given));
            }
            let place = &mut elements[start..end];
            if found & 1 << index != 0 && place != entry.data {
                return Err(fault(&entry.name, &"the transformation of the other ends of edges", "other values"));
            }
            found |= 1 << index;
            place.copy_from_slice(entry.data);
        }
        match list.get(found.trailing_ones() as usize) {
            Some(Parameter { name, shape, .. }) => {
                let (entry, expected) =
                    (format_args!("{prefix}{dot}{name}"), format_args!("an entry of shape {shape}"));
                Err(fault(&entry, &expected, "no such entry"))
            }
            None => Ok(Self { list, elements }),
        }
    }

    /// Names, shapes and elements in the order of PyTorch Geometric's state dict.
    pub fn entries(&self) -> Vec<Entry<'_>> {
        let mut entries = Vec::with_capacity(self.list.len());
        for &Parameter { name, shape, start, end, .. } in &self.list {
            let data = &self.elements[start..end];
            entries.push(Entry { name: Cow::Borrowed(name), shape: shape.dims().to_vec(), data });
        }
        entries
    }

    /// The elements of a parameter, if the layer has it.
    #[inline(never)]
    pub fn find(&self, name: &str) -> Option<&[f32]> {
        let parameter = self.list.iter().find(|parameter| parameter.name == name)?;
        Some(&self.elements[parameter.start..parameter.end])
    }

    /// The elements of a parameter that the layer has.
    pub fn get(&self, name: &str) -> &[f32] {
        self.find(name).unwrap_or_default()
    }
}

/// Creates the error about an entry that is not a parameter.
#[cold]
fn unknown(list: &[Parameter], settings: &Settings, entry: &Entry<'_>) -> Error {
    if entry.name.ends_with("bias") && !settings.use_bias {
        return fault(&entry.name, &"no biases, as use_bias is false", "a bias");
    }
    let names: Vec<&str> = list.iter().map(|parameter| parameter.name).collect();
    fault(&entry.name, &format_args!("one of {}", alternatives(&names)), "an entry that is no parameter of this layer")
}

/// The error that a state dict does not hold what it has to.
#[cold]
fn fault(entry: &dyn Display, expected: &dyn Display, actual: &str) -> Error {
    Error::new(Code::Format, entry, expected, actual)
}
