//! The parameters of a layer: a table with the shape and initialization of each, and their elements, which for
//! projections may have another type than 32-bit floats. Names in checkpoints are data, and so are the parameters that
//! a name covers.

use std::borrow::Cow;
use std::ops::Range;

use crate::error::Result;
use crate::layers::entries::{LoadOptions, Stored, StoredEntry, TypedEntry, below, dotted, fault, unknown};
use crate::layers::matrix::Matrix;
use crate::math::linear::Projection;
#[cfg(not(target_family = "wasm"))]
use crate::math::pieces::KeptPieces;
use crate::math::random::Mt19937;
use crate::math::weight::{OwnedWeights, WeightType, Weights};
use crate::simd::Level;
use crate::tensor::{Shape, try_zeroed};

/// Every parameter that a layer may have. Parameters that one name may cover are consecutive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Part {
    QueryWeight,
    KeyWeight,
    ValueWeight,
    QueryBias,
    KeyBias,
    ValueBias,
    OutputWeight,
    OutputBias,
    QueryNormWeight,
    QueryNormBias,
    KeyNormWeight,
    KeyNormBias,
    ExtraKey,
    ExtraValue,
    Sinks,
    RelativeBias,
    QueryLatentWeight,
    QueryLatentBias,
    QueryLatentNormWeight,
    QueryUpWeight,
    LatentWeight,
    LatentBias,
    LatentNormWeight,
    LatentUpWeight,
    Linear1Weight,
    Linear1Bias,
    Linear2Weight,
    Linear2Bias,
    GateWeight,
    GateBias,
    Norm1Weight,
    Norm1Bias,
    Norm2Weight,
    Norm2Bias,
    Norm3Weight,
    Norm3Bias,
    Norm4Weight,
    Norm4Bias,
    TableWeight,
    SourceScores,
    TargetScores,
    EdgeScores,
    GraphBias,
    NodeWeight,
    ProjectBias,
    SourceWeight,
    SourceBias,
    TargetWeight,
    TargetBias,
    MessageWeight,
    MessageBias,
    EdgeWeight,
    SkipWeight,
    SkipBias,
    BetaWeight,
}

/// The initialization of a parameter, as PyTorch and PyTorch Geometric do it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Initial {
    /// The same value everywhere.
    Constant(f32),
    /// `xavier_uniform_` of a matrix with these numbers of rows and columns, of which the parameter may be a part.
    Xavier(usize, usize),
    /// Uniform numbers up to this magnitude.
    Uniform(f64),
    /// Normal numbers with this deviation.
    Normal(f64),
    /// `torch.nn.Linear`'s weight over this number of inputs.
    LinearWeight(usize),
    /// `torch.nn.Linear`'s bias over this number of inputs.
    LinearBias(usize),
    /// `torch.nn.Linear`'s bias, which is drawn and then set to zero.
    ZeroedLinearBias(usize),
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Parameter {
    pub(crate) part: Part,
    pub(crate) shape: Shape,
    pub(crate) initial: Initial,
}

/// A name in checkpoints, with the first and last of the parameters that it covers.
pub(crate) type Name = (&'static str, Part, Part);

/// Parameter names in one family of checkpoints. The first name of a parameter is the one in messages.
pub(crate) struct Naming {
    pub(crate) names: &'static [&'static [Name]],
    /// Parameters that a checkpoint may lack if it has the query bias; they become zeros.
    pub(crate) optional: &'static [Part],
    /// Other entries that such checkpoints hold under the same prefix; they are ignored.
    pub(crate) companions: &'static [&'static str],
}

/// The parameters that a layer has, and their elements.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameters {
    table: Vec<Parameter>,
    /// The type of the matrices of projections.
    weight_type: WeightType,
    /// The 32-bit floats, in the order of the table.
    elements: Vec<f32>,
    /// The matrices of another type.
    matrices: Vec<(Part, Matrix)>,
    /// Places for the pieces of each parameter in the order of the table, and for those of consecutive ones together.
    #[cfg(not(target_family = "wasm"))]
    pieces: Vec<KeptPieces>,
}

impl Naming {
    fn iter(&self) -> impl Iterator<Item = Name> + '_ {
        self.names.iter().flat_map(|names| names.iter().copied())
    }
}

impl Part {
    /// Returns true for matrices that a layer keeps in the type of its weights.
    fn is_matrix(self) -> bool {
        use Part::{
            GateWeight, KeyWeight, LatentUpWeight, LatentWeight, Linear1Weight, Linear2Weight, OutputWeight,
            QueryLatentWeight, QueryUpWeight, QueryWeight, TableWeight, ValueWeight,
        };
        matches!(self, QueryWeight | KeyWeight | ValueWeight | OutputWeight | QueryLatentWeight | QueryUpWeight)
            || matches!(self, LatentWeight | LatentUpWeight | Linear1Weight | Linear2Weight | GateWeight | TableWeight)
    }

    fn is_bias(self) -> bool {
        use Part::{
            GateBias, GraphBias, KeyBias, LatentBias, Linear1Bias, Linear2Bias, MessageBias, OutputBias, QueryBias,
            QueryLatentBias, SkipBias, SourceBias, TargetBias, ValueBias,
        };
        matches!(self, QueryBias | KeyBias | ValueBias | OutputBias | Linear1Bias | Linear2Bias | GateBias)
            || matches!(self, QueryLatentBias | LatentBias)
            || matches!(self, GraphBias | SourceBias | TargetBias | MessageBias | SkipBias)
    }
}

impl Parameters {
    /// Creates parameters of zeros, without the matrices of another type.
    pub(crate) fn zeroed(table: Vec<Parameter>, weight_type: WeightType) -> Result<Self> {
        let mut parameters = Self {
            #[cfg(not(target_family = "wasm"))]
            pieces: vec![KeptPieces::default(); table.len() + 1],
            table,
            weight_type,
            elements: Vec::new(),
            matrices: Vec::new(),
        };
        // Each is within range, but in 32 bits their sum may not be.
        let sizes = parameters.table.iter().map(|row| parameters.floats_in(row));
        parameters.elements = try_zeroed("parameters", sizes.fold(0, usize::saturating_add))?;
        Ok(parameters)
    }

    /// Creates parameters of zeros, which a state dict is about to replace.
    fn blank(table: Vec<Parameter>, weight_type: WeightType) -> Result<Self> {
        let mut parameters = Self::zeroed(table, weight_type)?;
        for &Parameter { part, shape, .. } in &parameters.table {
            if parameters.has_own_type(part) {
                parameters.matrices.push((part, Matrix::zeroed(shape.rows_and_columns().into(), weight_type)?));
            }
        }
        Ok(parameters)
    }

    /// Draws the initial parameters in the order of PyTorch: those of `first`, then all others in the table's order.
    /// Without a generator they are zeros.
    pub(crate) fn draw(
        table: Vec<Parameter>,
        weight_type: WeightType,
        first: &[Part],
        generator: Option<&mut Mt19937>,
    ) -> Result<Self> {
        let Some(generator) = generator else { return Self::blank(table, weight_type) };
        let rest = table.iter().map(|row| row.part).filter(|part| !first.contains(part));
        let order: Vec<Part> = first.iter().copied().chain(rest).collect();
        let mut drawn = Self::zeroed(table, WeightType::F32)?;
        for part in order {
            drawn.draw_part(part, generator);
        }
        if weight_type == WeightType::F32 {
            return Ok(drawn);
        }
        let mut parameters = Self::zeroed(drawn.table.clone(), weight_type)?;
        for &Parameter { part, .. } in &drawn.table {
            parameters.set("parameters", part, Weights::F32(drawn.get(part).unwrap_or_default()))?;
        }
        Ok(parameters)
    }

    /// Sets a parameter to weights of any type; `name` is for errors.
    fn set(&mut self, name: &str, part: Part, weights: Weights<'_>) -> Result<()> {
        let shape = self.shape(part, part);
        let (rows, columns) = shape.rows_and_columns();
        if self.has_own_type(part) {
            let packs = part != Part::TableWeight;
            self.matrices.push((part, Matrix::new(name, [rows, columns], weights, self.weight_type, packs)?));
            return Ok(());
        }
        let range = self.range(part, part);
        let target = &mut self.elements[range];
        match weights {
            Weights::F32(data) => target.copy_from_slice(data),
            weights if columns > 0 => {
                for (row, target) in target.chunks_exact_mut(columns).enumerate() {
                    weights.read_row(Level::current(), row, target);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns true if a parameter is not stored in 32 bits.
    fn has_own_type(&self, part: Part) -> bool {
        self.weight_type != WeightType::F32 && part.is_matrix()
    }

    /// Returns the number of elements of a parameter that are stored in 32 bits.
    fn floats_in(&self, row: &Parameter) -> usize {
        if self.has_own_type(row.part) { 0 } else { row.shape.checked_len().unwrap_or(usize::MAX) }
    }

    fn draw_part(&mut self, part: Part, generator: &mut Mt19937) {
        let Some(&Parameter { initial, .. }) = self.table.iter().find(|row| row.part == part) else { return };
        let range = self.range(part, part);
        let values = &mut self.elements[range];
        match initial {
            Initial::Constant(value) => values.fill(value),
            Initial::Xavier(rows, columns) => generator.fill_xavier_uniform(rows, columns, values),
            Initial::Uniform(bound) => generator.fill_uniform(bound, values),
            Initial::Normal(deviation) => {
                generator.fill_normal(values);
                values.iter_mut().for_each(|value| *value = (f64::from(*value) * deviation) as f32);
            }
            Initial::LinearWeight(inputs) => generator.fill_linear_weight(inputs, values),
            Initial::LinearBias(inputs) => generator.fill_linear_bias(inputs, values),
            Initial::ZeroedLinearBias(inputs) => {
                generator.fill_linear_bias(inputs, values);
                values.fill(0.0);
            }
        }
    }

    /// Loads the parameters from the entries below a prefix.
    ///
    /// Missing, extra and wrongly shaped entries are errors. In loading that is not strict, entries of other names are
    /// ignored. Names that begin with `inner`, unless it is empty, and are no parameters belong to a part of the layer.
    pub(crate) fn load(
        (table, weight_type): (Vec<Parameter>, WeightType),
        naming: &Naming,
        entries: &[TypedEntry<'_>],
        options: LoadOptions<'_>,
        inner: &str,
    ) -> Result<Self> {
        let mut parameters = Self::zeroed(table, weight_type)?;
        let prefix = dotted(options.prefix);
        let mut found: Vec<Part> = Vec::new();
        for (name, entry) in below(entries, &prefix) {
            let is_inner = !inner.is_empty() && name.starts_with(inner) && naming.iter().all(|(own, ..)| own != name);
            if is_inner || naming.companions.contains(&name) {
                continue;
            }
            let Some((first, last)) = parameters.place(naming, name, entry, options.strict)? else { continue };
            if found.iter().any(|&part| (first..=last).contains(&part)) {
                return Err(fault(&entry.name, "one entry of a name", "two"));
            }
            entry.check_shape(parameters.shape(first, last))?;
            parameters.set_each(&entry.name, [first, last], entry.data)?;
            found.extend(parameters.rows(first, last).map(|row| row.part));
        }
        parameters.check_complete(naming, &found, &prefix)?;
        Ok(parameters)
    }

    /// Sets consecutive parameters to the weights of one entry; `name` is for errors.
    fn set_each(&mut self, name: &str, [first, last]: [Part; 2], weights: Weights<'_>) -> Result<()> {
        let widened;
        let mut weights = weights;
        // Groups of 8 bits are groups of the whole entry.
        if !first.is_matrix() && weights.weight_type() != WeightType::F32 {
            let (_, columns) = self.shape(first, last).rows_and_columns();
            widened = OwnedWeights::convert(name, weights, WeightType::F32, columns)?;
            weights = widened.borrow();
        }
        let mut start = 0;
        let rows: Vec<Parameter> = self.rows(first, last).copied().collect();
        for Parameter { part, shape, .. } in rows {
            let (rows, columns) =
                if part.is_matrix() { shape.rows_and_columns() } else { (shape.checked_len().unwrap_or(0), 1) };
            self.set(name, part, weights.rows(start..start + rows, columns))?;
            start += rows;
        }
        Ok(())
    }

    /// Returns the parameters that an entry fills, or `None` if the entry is ignored.
    fn place(&self, naming: &Naming, name: &str, entry: &TypedEntry<'_>, strict: bool) -> Result<Option<(Part, Part)>> {
        let Some((_, first, last)) = naming.iter().find(|(known, ..)| *known == name) else {
            return if strict { Err(unknown(entry, &self.known(naming))) } else { Ok(None) };
        };
        if self.has(first, last) {
            return Ok(Some((first, last)));
        }
        match (strict, first.is_bias(), self.rows(first, last).count()) {
            (false, ..) => Ok(None),
            (true, true, 0) => Err(fault(&entry.name, "no biases, as use_bias is false", "a bias")),
            (true, true, _) => Err(fault(&entry.name, "biases where use_bias has them", "a bias of every projection")),
            (true, false, _) => Err(unknown(entry, &self.known(naming))),
        }
    }

    /// Checks that every parameter was found.
    fn check_complete(&self, naming: &Naming, found: &[Part], prefix: &str) -> Result<()> {
        let is_missing = |row: &Parameter| {
            let may_lack = naming.optional.contains(&row.part) && found.contains(&Part::QueryBias);
            !found.contains(&row.part) && !may_lack
        };
        let mut names = naming.iter();
        let missing = names.find(|&(_, first, last)| self.has(first, last) && self.rows(first, last).all(is_missing));
        let Some((name, first, last)) = missing else { return Ok(()) };
        let reason = if first.is_bias() { ", as use_bias is true" } else { "" };
        let expected = format_args!("an entry of shape {}{reason}", self.shape(first, last));
        Err(fault(format_args!("{prefix}{name}"), expected, "no such entry"))
    }

    /// Returns the names of the parameters, without second names of the same.
    fn known(&self, naming: &Naming) -> Vec<&'static str> {
        self.named(naming).into_iter().map(|(name, ..)| name).collect()
    }

    /// Returns the first name of every parameter, in the order of the names.
    fn named(&self, naming: &Naming) -> Vec<Name> {
        let mut named: Vec<Name> = Vec::new();
        for (name, first, last) in naming.iter() {
            if self.has(first, last) && !named.iter().any(|&(_, from, to)| first <= to && from <= last) {
                named.push((name, first, last));
            }
        }
        named
    }

    /// Returns an entry for every parameter, under its first name.
    pub(crate) fn entries(&self, naming: &Naming) -> Vec<StoredEntry<'_>> {
        let entry = |(name, first, last): Name| StoredEntry {
            name: Cow::Borrowed(name),
            shape: self.shape(first, last).dims().to_vec(),
            data: match self.has_own_type(first) {
                true => Stored::Matrices(self.rows(first, last).filter_map(|row| self.matrix(row.part)).collect()),
                false => Stored::Given(Weights::F32(&self.elements[self.range(first, last)])),
            },
        };
        self.named(naming).into_iter().map(entry).collect()
    }

    /// Returns the elements of each of [`Self::entries`], or `None` for those of another type than 32-bit floats.
    #[cfg(feature = "training")]
    pub(crate) fn floats_mut(&mut self, naming: &Naming) -> Vec<Option<&mut [f32]>> {
        #[cfg(not(target_family = "wasm"))]
        self.pieces.iter_mut().for_each(KeptPieces::forget);
        let named = self.named(naming);
        let mut slices: Vec<Option<&mut [f32]>> = Vec::new();
        slices.resize_with(named.len(), || None);
        let mut found = Vec::with_capacity(named.len());
        // Names may be in another order than the elements.
        for row in &self.table {
            if let Some(entry) = named.iter().position(|&(_, first, _)| first == row.part)
                && !self.has_own_type(row.part)
            {
                found.push((entry, self.range(named[entry].1, named[entry].2)));
            }
        }
        let (mut rest, mut start) = (&mut *self.elements, 0);
        for (entry, range) in found {
            let (own, after) = std::mem::take(&mut rest)[range.start - start..].split_at_mut(range.len());
            slices[entry] = Some(own);
            (rest, start) = (after, range.end);
        }
        slices
    }

    /// Returns the elements of a parameter, or `None` if the layer has no such parameter in 32 bits.
    pub(crate) fn get(&self, part: Part) -> Option<&[f32]> {
        self.span(part, part)
    }

    /// Returns the elements of consecutive parameters, or `None` unless the layer has each of them in 32 bits.
    pub(crate) fn span(&self, first: Part, last: Part) -> Option<&[f32]> {
        let is_there = self.has(first, last) && !self.has_own_type(first);
        is_there.then(|| &self.elements[self.range(first, last)])
    }

    /// Returns the matrix of a projection of any type, or `None` if the layer has no such parameter.
    pub(crate) fn projection(&self, part: Part) -> Option<Projection<'_>> {
        match self.matrix(part) {
            Some(matrix) => Some(matrix.projection()),
            None => self.joint_projection(part, part),
        }
    }

    /// Returns the matrix of consecutive projections of the same rows, or `None` unless the layer has each of them in
    /// 32 bits. A layer must ask for the same ones each time.
    pub(crate) fn joint_projection(&self, first: Part, last: Part) -> Option<Projection<'_>> {
        let data = self.span(first, last)?;
        #[cfg(target_family = "wasm")]
        return Some(Projection::Given(Weights::F32(data)));
        #[cfg(not(target_family = "wasm"))]
        {
            let is_alone = |row: &Parameter| first == last && row.part == first;
            let place = self.table.iter().position(is_alone).unwrap_or(self.table.len());
            Some(Projection::Kept(data, &self.pieces[place]))
        }
    }

    fn matrix(&self, part: Part) -> Option<&Matrix> {
        self.matrices.iter().find(|(own, _)| *own == part).map(|(_, matrix)| matrix)
    }

    /// Returns the number of bytes.
    pub(crate) fn bytes(&self) -> usize {
        #[cfg(not(target_family = "wasm"))]
        let pieces = self.pieces.iter().map(KeptPieces::bytes).sum::<usize>();
        #[cfg(target_family = "wasm")]
        let pieces = 0;
        size_of_val(&*self.elements) + self.matrices.iter().map(|(_, matrix)| matrix.bytes()).sum::<usize>() + pieces
    }

    /// Returns whether the layer has each of consecutive parameters.
    fn has(&self, first: Part, last: Part) -> bool {
        self.rows(first, last).count() == last as usize - first as usize + 1
    }

    fn rows(&self, first: Part, last: Part) -> impl Iterator<Item = &Parameter> {
        self.table.iter().filter(move |row| (first..=last).contains(&row.part))
    }

    /// Returns the shape of consecutive parameters as one: the sum of their first dimensions.
    fn shape(&self, first: Part, last: Part) -> Shape {
        let mut rows = self.rows(first, last).map(|row| row.shape);
        let Some(shape) = rows.next() else { return Shape::of([0]) };
        let total = rows.fold(shape.dims()[0], |total, shape| total + shape.dims()[0]);
        match *shape.dims() {
            [_, columns] => Shape::of([total, columns]),
            [_] => Shape::of([total]),
            _ => shape,
        }
    }

    /// Returns the place of consecutive parameters among the 32-bit floats.
    fn range(&self, first: Part, last: Part) -> Range<usize> {
        let length = |row: &Parameter| self.floats_in(row);
        let start = self.table.iter().take_while(|row| row.part < first).map(length).sum();
        start..start + self.rows(first, last).map(length).sum::<usize>()
    }
}
