//! The parameters of the graph layers: PyTorch Geometric's names, order and initialization.

use std::fmt;

use super::options::{Kind, Settings};
use crate::error::Result;
use crate::layers::entries::{Entry, LoadOptions, StoredEntry, TypedEntry, dotted, fault};
use crate::layers::parameters::{Initial, Name, Naming, Parameter, Parameters, Part};
use crate::math::random::Mt19937;
use crate::math::weight::WeightType;
use crate::tensor::Shape;

/// The initialization of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Draw {
    Zeros,
    /// Uniform in ±√(6 / (rows + columns)).
    Glorot,
    /// As `torch.nn.Linear` draws its weight.
    Weight,
    /// As `torch.nn.Linear` draws its bias. The bias follows its weight.
    Bias,
}

/// A dimension of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Dim {
    One,
    Heads,
    /// Features of one head.
    Channels,
    /// `heads · channels`.
    Width,
    /// Features of sources.
    Sources,
    /// Features of targets.
    Targets,
    EdgeFeatures,
    Output,
    /// `3 · output`.
    Gate,
}

/// The layers that have a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// All layers of the kind.
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
}

/// A row of the table: a parameter's name in PyTorch Geometric, the layers that have it, its shape, and how it is
/// drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    part: Part,
    /// The name in PyTorch Geometric's state dict.
    pub name: &'static str,
    /// The layers that have the parameter.
    pub when: When,
    dims: &'static [Dim],
    draw: Draw,
}

/// The parameters that layers of one type may have, in the order of PyTorch Geometric's state dict: a layer's own
/// first, then those of its parts.
pub struct Table {
    rows: &'static [Row],
    naming: Naming,
}

const fn row(part: Part, name: &'static str, when: When, dims: &'static [Dim], draw: Draw) -> Row {
    Row { part, name, when, dims, draw }
}

const fn names<const N: usize>(rows: &[Row; N]) -> [Name; N] {
    let mut names = [("", Part::GraphBias, Part::GraphBias); N];
    let mut index = 0;
    while index < N {
        names[index] = (rows[index].name, rows[index].part, rows[index].part);
        index += 1;
    }
    names
}

const SCORES: &[Dim] = &[Dim::One, Dim::Heads, Dim::Channels];
const OF_SOURCES: &[Dim] = &[Dim::Width, Dim::Sources];
const OF_TARGETS: &[Dim] = &[Dim::Width, Dim::Targets];
const OF_EDGES: &[Dim] = &[Dim::Width, Dim::EdgeFeatures];
const SKIP: &[Dim] = &[Dim::Output, Dim::Targets];
const WIDTH: &[Dim] = &[Dim::Width];

const BIAS: Row = row(Part::GraphBias, "bias", When::Bias, &[Dim::Output], Draw::Zeros);
const WEIGHT: Row = row(Part::NodeWeight, "lin.weight", When::Always, OF_SOURCES, Draw::Glorot);
const SOURCE_SCORES: Row = row(Part::SourceScores, "att_src", When::Always, SCORES, Draw::Glorot);
const TARGET_SCORES: Row = row(Part::TargetScores, "att_dst", When::Always, SCORES, Draw::Glorot);
const EDGE_SCORES: Row = row(Part::EdgeScores, "att_edge", When::Edge, SCORES, Draw::Glorot);
const EDGE: Row = row(Part::EdgeWeight, "lin_edge.weight", When::Edge, OF_EDGES, Draw::Glorot);
const RESIDUAL: Row = row(Part::SkipWeight, "res.weight", When::Residual, SKIP, Draw::Glorot);

const CONVOLUTION: [Row; 2] = [BIAS, WEIGHT];
const SAGE: [Row; 5] = [
    row(Part::NodeWeight, "lin.weight", When::Project, &[Dim::Sources, Dim::Sources], Draw::Weight),
    row(Part::ProjectBias, "lin.bias", When::Project, &[Dim::Sources], Draw::Bias),
    row(Part::SourceWeight, "lin_l.weight", When::Always, OF_SOURCES, Draw::Weight),
    row(Part::SourceBias, "lin_l.bias", When::Bias, WIDTH, Draw::Bias),
    row(Part::TargetWeight, "lin_r.weight", When::Root, OF_TARGETS, Draw::Weight),
];
const ADDITIVE: [Row; 7] = [SOURCE_SCORES, TARGET_SCORES, EDGE_SCORES, BIAS, WEIGHT, EDGE, RESIDUAL];
const ADDITIVE_PAIR: [Row; 8] = [
    SOURCE_SCORES,
    TARGET_SCORES,
    EDGE_SCORES,
    BIAS,
    row(Part::SourceWeight, "lin_src.weight", When::Always, OF_SOURCES, Draw::Glorot),
    row(Part::TargetWeight, "lin_dst.weight", When::Always, OF_TARGETS, Draw::Glorot),
    EDGE,
    RESIDUAL,
];
const JOINT: [Row; 8] = [
    row(Part::SourceScores, "att", When::Always, SCORES, Draw::Glorot),
    BIAS,
    row(Part::SourceWeight, "lin_l.weight", When::Always, OF_SOURCES, Draw::Glorot),
    row(Part::SourceBias, "lin_l.bias", When::Bias, WIDTH, Draw::Bias),
    row(Part::TargetWeight, "lin_r.weight", When::Always, OF_TARGETS, Draw::Glorot),
    row(Part::TargetBias, "lin_r.bias", When::Bias, WIDTH, Draw::Bias),
    EDGE,
    RESIDUAL,
];
const TRANSFORMER: [Row; 10] = [
    row(Part::SourceWeight, "lin_key.weight", When::Always, OF_SOURCES, Draw::Weight),
    row(Part::SourceBias, "lin_key.bias", When::Bias, WIDTH, Draw::Bias),
    row(Part::TargetWeight, "lin_query.weight", When::Always, OF_TARGETS, Draw::Weight),
    row(Part::TargetBias, "lin_query.bias", When::Bias, WIDTH, Draw::Bias),
    row(Part::MessageWeight, "lin_value.weight", When::Always, OF_SOURCES, Draw::Weight),
    row(Part::MessageBias, "lin_value.bias", When::Bias, WIDTH, Draw::Bias),
    row(Part::EdgeWeight, "lin_edge.weight", When::Edge, OF_EDGES, Draw::Weight),
    row(Part::SkipWeight, "lin_skip.weight", When::Always, SKIP, Draw::Weight),
    row(Part::SkipBias, "lin_skip.bias", When::Bias, &[Dim::Output], Draw::Bias),
    row(Part::BetaWeight, "lin_beta.weight", When::Gate, &[Dim::One, Dim::Gate], Draw::Weight),
];

/// Up to release 2.4, the one weight of `GATConv` had two names, with the same values under each.
const OLD_WEIGHTS: [Name; 2] =
    [("lin_src.weight", Part::NodeWeight, Part::NodeWeight), ("lin_dst.weight", Part::NodeWeight, Part::NodeWeight)];

const fn named(names: &'static [&'static [Name]]) -> Naming {
    Naming { names, optional: &[], companions: &[] }
}

static TABLES: [Table; 6] = [
    Table { rows: &CONVOLUTION, naming: named(&[&names(&CONVOLUTION)]) },
    Table { rows: &SAGE, naming: named(&[&names(&SAGE)]) },
    Table { rows: &ADDITIVE, naming: named(&[&names(&ADDITIVE), &OLD_WEIGHTS]) },
    Table { rows: &ADDITIVE_PAIR, naming: named(&[&names(&ADDITIVE_PAIR)]) },
    Table { rows: &JOINT, naming: named(&[&names(&JOINT)]) },
    Table { rows: &TRANSFORMER, naming: named(&[&names(&TRANSFORMER)]) },
];

impl Dim {
    fn size(self, settings: &Settings) -> usize {
        match self {
            Self::One => 1,
            Self::Heads => settings.num_heads,
            Self::Channels => settings.out_features,
            Self::Width => settings.width(),
            Self::Sources => settings.in_features[0],
            Self::Targets => settings.in_features[1],
            Self::EdgeFeatures => settings.edge_features,
            Self::Output => settings.output_width(),
            Self::Gate => 3 * settings.output_width(),
        }
    }
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
        }
    }
}

impl Row {
    /// Returns the dimensions as words, such as `width sources`.
    pub fn shape(&self) -> impl fmt::Display {
        fmt::from_fn(|f| {
            for (index, dim) in self.dims.iter().enumerate() {
                let word = match dim {
                    Dim::One => "1",
                    Dim::Heads => "heads",
                    Dim::Channels => "channels",
                    Dim::Width => "width",
                    Dim::Sources => "sources",
                    Dim::Targets => "targets",
                    Dim::EdgeFeatures => "edgeFeatures",
                    Dim::Output => "output",
                    Dim::Gate => "3*output",
                };
                write!(f, "{}{word}", if index > 0 { " " } else { "" })?;
            }
            Ok(())
        })
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.rows).finish()
    }
}

impl Table {
    /// Returns the parameters of `GCNConv`, `SAGEConv`, `GATConv` with one weight and with a weight for each end of
    /// edges, `GATv2Conv` and `TransformerConv`.
    pub fn all() -> &'static [Self] {
        &TABLES
    }

    /// Returns the parameters that the layers may have.
    pub fn rows(&self) -> &'static [Row] {
        self.rows
    }

    fn of(settings: &Settings) -> &'static Self {
        let [convolution, sage, additive, additive_pair, joint, transformer] = &TABLES;
        match settings.kind {
            Kind::Convolution => convolution,
            Kind::Sage => sage,
            Kind::Attention if !settings.is_additive => joint,
            Kind::Attention if settings.is_pair => additive_pair,
            Kind::Attention => additive,
            Kind::Transformer => transformer,
        }
    }

    /// Returns the parameters of a layer with these settings.
    fn parameters(&self, settings: &Settings) -> Result<Vec<Parameter>> {
        let slope = 5f64.sqrt();
        let mut table = Vec::with_capacity(self.rows.len());
        let mut inputs = 0;
        for row in self.rows.iter().filter(|row| row.when.holds(settings)) {
            let mut dims = [0; 3];
            let dims = &mut dims[..row.dims.len()];
            dims.iter_mut().zip(row.dims).for_each(|(size, dim)| *size = dim.size(settings));
            let (rows, columns) = if let [.., rows, columns] = *dims { (rows, columns) } else { (0, inputs) };
            inputs = columns;
            let square = match row.draw {
                Draw::Zeros => 0.0,
                Draw::Glorot => 6.0 / (rows + columns) as f64,
                Draw::Weight => 6.0 / ((1.0 + slope * slope) * columns as f64),
                Draw::Bias => 1.0 / columns as f64,
            };
            let initial = match row.draw {
                Draw::Zeros => Initial::Constant(0.0),
                _ => Initial::Uniform(square.sqrt()),
            };
            table.push(Parameter { part: row.part, shape: Shape::new("parameters", dims)?, initial });
        }
        Ok(table)
    }
}

/// The parameters of a graph layer, by name.
#[derive(Debug, Clone)]
pub struct GraphParameters {
    table: &'static Table,
    parameters: Parameters,
}

impl GraphParameters {
    /// Draws the parameters that the layer of PyTorch Geometric draws after `torch.manual_seed(seed)`, bit for bit.
    ///
    /// # Errors
    /// `MEMORY`.
    pub(super) fn init(settings: &Settings) -> Result<Self> {
        let table = Table::of(settings);
        let parts = table.rows.iter().filter(|row| row.name.contains('.')).map(|row| row.part);
        // Each part draws when it is made and again when the whole layer is reset, which then draws its own parameters.
        let first: Vec<Part> = parts.clone().chain(parts).collect();
        let mut generator = Mt19937::new(settings.seed);
        let parameters = Parameters::draw(table.parameters(settings)?, WeightType::F32, &first, Some(&mut generator))?;
        Ok(Self { table, parameters })
    }

    /// Loads the parameters that `entries` hold under a prefix. Entries outside the prefix do not count.
    ///
    /// # Errors
    /// `SHAPE` or `FORMAT` for missing, further and wrongly shaped entries.
    pub(super) fn load(settings: &Settings, entries: &[Entry<'_>], options: LoadOptions<'_>) -> Result<Self> {
        let table = Table::of(settings);
        let mut entries: Vec<TypedEntry<'_>> = entries.iter().map(TypedEntry::from).collect();
        if settings.is_additive && !settings.is_pair {
            join_old_weights(&mut entries, options.prefix)?;
        }
        let own = (table.parameters(settings)?, WeightType::F32);
        Ok(Self { table, parameters: Parameters::load(own, &table.naming, &entries, options, "")? })
    }

    /// Returns the number of elements.
    pub fn elements(&self) -> usize {
        self.parameters.bytes() / size_of::<f32>()
    }

    /// Returns names, shapes and elements in the order of PyTorch Geometric's state dict.
    pub fn entries(&self) -> Vec<StoredEntry<'_>> {
        self.parameters.entries(&self.table.naming)
    }

    /// Returns the elements of each of [`Self::entries`] for changes in place, or `None` for those of another type than
    /// 32-bit floats.
    #[cfg(feature = "training")]
    pub(super) fn floats_mut(&mut self) -> Vec<Option<&mut [f32]>> {
        self.parameters.floats_mut(&self.table.naming)
    }

    /// Returns the elements of a parameter, or `None` if the layer has no such parameter.
    #[inline(never)]
    pub fn find(&self, name: &str) -> Option<&[f32]> {
        let row = self.table.rows.iter().find(|row| row.name == name)?;
        self.parameters.get(row.part)
    }

    /// Returns the elements of a parameter that the layer has.
    pub fn get(&self, name: &str) -> &[f32] {
        self.find(name).unwrap_or_default()
    }
}

/// Removes the weight under its second old name if its values are the same under the first.
///
/// # Errors
/// `FORMAT` if they differ.
fn join_old_weights(entries: &mut Vec<TypedEntry<'_>>, prefix: &str) -> Result<()> {
    let prefix = dotted(prefix);
    let places =
        OLD_WEIGHTS.map(|(name, ..)| entries.iter().position(|entry| entry.name.strip_prefix(&*prefix) == Some(name)));
    let [Some(source), Some(target)] = places else { return Ok(()) };
    let [kept, other] = [source, target].map(|place| &entries[place]);
    if (&kept.shape, kept.data) != (&other.shape, other.data) {
        return Err(fault(&other.name, "the transformation of the other ends of edges", "other values"));
    }
    entries.remove(target);
    Ok(())
}
