//! Hyperbolic geometry for callers: functions of rows of points and tangent vectors, checked, then computed in doubles.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::context::{Context, operations};
use crate::error::{Code, Error, Result};
use crate::ranges;
use crate::tensor::{MAX_RANK, Shape, Tensor, check_output};

use super::ball::{self, Point};
use super::model::{Coordinates, Model};
use super::{Decimal, HyperbolicAttention, check_point};

/// Rows of one work item.
const ROWS: usize = 64;

/// A function applied row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "camelCase"))]
pub enum Function {
    /// `distance(a, b)`.
    Distance,
    /// `projectToBall(x)`.
    ProjectToBall,
    /// `expMap(base, tangent)`.
    ExpMap,
    /// `logMap(base, point)`.
    LogMap,
    /// `expMap0(tangent)`.
    ExpMap0,
    /// `logMap0(point)`.
    LogMap0,
    /// `mobiusAdd(a, b)`.
    MobiusAdd,
    /// `mobiusScale(factor, x)`.
    MobiusScale,
    /// `parallelTransport(from, to, tangent)`.
    ParallelTransport,
    /// `toLorentz(x)`.
    ToLorentz,
    /// `toPoincare(x)`.
    ToPoincare,
}

use Function::*;

/// The kind of an argument or a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One number per row.
    Number,
    /// A point of the manifold.
    Point,
    /// Any vector, to be projected to a point.
    AnyPoint,
    /// A tangent vector at the point given by the argument with this index.
    TangentAt(usize),
    /// A tangent vector at the origin, without the coordinate that is always 0.
    Vector,
}

impl Function {
    /// Returns the names of up to three arguments; unused ones are empty.
    pub fn names(self) -> [&'static str; 3] {
        let (arguments, _) = self.signature();
        [0, 1, 2].map(|index| arguments.get(index).map_or("", |(name, _)| name))
    }

    /// Returns the names and kinds of the arguments, and the kind of the result.
    fn signature(self) -> (&'static [(&'static str, Kind)], Kind) {
        use Kind::*;
        match self {
            Distance => (&[("a", Point), ("b", Point)], Number),
            ProjectToBall => (&[("x", AnyPoint)], Point),
            ExpMap => (&[("base", Point), ("tangent", TangentAt(0))], Point),
            LogMap => (&[("base", Point), ("point", Point)], TangentAt(0)),
            ExpMap0 => (&[("tangent", Vector)], Point),
            LogMap0 => (&[("point", Point)], Vector),
            MobiusAdd => (&[("a", Point), ("b", Point)], Point),
            MobiusScale | ToLorentz | ToPoincare => (&[("x", Point)], Point),
            ParallelTransport => (&[("from", Point), ("to", Point), ("tangent", TangentAt(0))], TangentAt(1)),
        }
    }
}

/// A function and its numeric parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct FunctionOptions {
    /// The function to apply; the distance by default.
    pub function: Function,
    /// The factor by which `mobiusScale` multiplies distances from the origin; finite, 1 by default.
    pub factor: f64,
}

impl Default for FunctionOptions {
    fn default() -> Self {
        Self { function: Distance, factor: 1.0 }
    }
}

/// An argument: one row for each row of the result, or a single row for all.
struct Argument<'a> {
    name: &'static str,
    kind: Kind,
    tensor: Tensor<'a>,
    rows: usize,
    size: usize,
}

impl<'a> Argument<'a> {
    fn new(name: &'static str, kind: Kind, tensor: Tensor<'a>) -> Self {
        let (rows, size) = tensor.shape.rows_and_columns();
        Self { name, kind, tensor, rows, size }
    }

    /// Checks that rows have `dims` dimensions plus the extra coordinates of their kind. Returns the number of
    /// dimensions.
    fn check_size(&self, coordinates: Coordinates, dims: Option<usize>) -> Result<usize> {
        let extra = if self.kind == Kind::Vector { 0 } else { coordinates.extra() };
        if self.tensor.shape.rank() > 0 && self.size >= extra && dims.is_none_or(|dims| dims + extra == self.size) {
            return Ok(self.size - extra);
        }
        let expected = match (dims, extra) {
            (Some(dims), _) => format!("rows of {} numbers", dims + extra),
            (None, 0) => "rows of D numbers".to_owned(),
            (None, _) => "rows of D + 1 numbers, the first coordinate first".to_owned(),
        };
        Err(Error::shape(self.name, expected, self.tensor.shape))
    }

    /// Returns the leading dimensions.
    fn leading(&self) -> &[usize] {
        let dims = self.tensor.shape.dims();
        &dims[..dims.len() - 1]
    }

    fn row(&self, row: usize) -> &'a [f32] {
        let row = if self.rows == 1 { 0 } else { row };
        &self.tensor.data[row * self.size..][..self.size]
    }
}

/// Scratch memory for one row.
#[derive(Default)]
struct Row {
    points: [Point; 2],
    vector: Vec<f64>,
    result: Point,
}

impl Row {
    /// Reads a row of every argument; an argument outside the function's domain is an error.
    fn read(&mut self, coordinates: Coordinates, arguments: &[Argument<'_>], row: usize) -> Result<()> {
        for (index, argument) in arguments.iter().enumerate() {
            let given = argument.row(row);
            if argument.kind == Kind::Point {
                let off = coordinates.read_point(given, &mut self.points[index]);
                check_point(coordinates.model, argument.name, format_args!("row {row}"), off)?;
                continue;
            }
            if !given.iter().all(|value| value.is_finite()) {
                let actual = format_args!("row {row}, which holds NaN or infinity");
                return Err(Error::new(Code::Domain, argument.name, "finite numbers", actual));
            }
            match argument.kind {
                Kind::TangentAt(point) => coordinates.read_tangent(&self.points[point], given, &mut self.vector),
                Kind::Vector => coordinates.read_vector(given, &mut self.vector),
                // Accepted at any distance from the manifold.
                _ => _ = coordinates.read_point(given, &mut self.points[index]),
            }
        }
        Ok(())
    }

    /// Applies the function to the arguments read.
    fn apply(&mut self, coordinates: Coordinates, options: &FunctionOptions, kind: Kind, output: &mut [f32]) {
        let Self { points: [p, q], vector, result } = self;
        match options.function {
            Distance => output[0] = (ball::distance(p, q) / coordinates.root) as f32,
            ProjectToBall | ToLorentz | ToPoincare => result.clone_from(p),
            ExpMap => ball::exp(p, vector, result),
            LogMap => ball::log(p, q, vector),
            ExpMap0 => coordinates.exp_origin(vector, result),
            LogMap0 => coordinates.write_log_origin(p, vector, output),
            MobiusAdd => ball::add(p, q, result),
            MobiusScale => ball::scale(options.factor, p, result),
            ParallelTransport => ball::transport(p, q, vector),
        }
        match kind {
            Kind::Point => coordinates.write_point(result, output),
            Kind::TangentAt(point) => coordinates.write_tangent(&self.points[point], &self.vector, output),
            _ => {}
        }
    }
}

impl HyperbolicAttention {
    /// Returns the coordinates of a function's arguments, and of its result.
    fn coordinates_of(&self, function: Function) -> (Coordinates, Coordinates) {
        let at = |model| Coordinates { model, ..self.coordinates };
        match function {
            ToLorentz => (at(Model::Poincare), at(Model::Lorentz)),
            ToPoincare => (at(Model::Lorentz), at(Model::Poincare)),
            _ => (self.coordinates, self.coordinates),
        }
    }

    /// Returns the shape of the result of [`Self::apply`]. For arguments that do not fit, the value is unspecified.
    pub fn result_shape(&self, options: &FunctionOptions, tensors: [Option<Tensor<'_>>; 3]) -> Shape {
        let (reader, writer) = self.coordinates_of(options.function);
        let (signature, kind) = options.function.signature();
        let is_vector = signature.first().is_some_and(|&(_, kind)| kind == Kind::Vector);
        let mut tensors = tensors.into_iter().flatten().peekable();
        let size = tensors.peek().and_then(|first| first.shape.dims().last()).copied().unwrap_or(0);
        let dims = size.saturating_sub(if is_vector { 0 } else { reader.extra() });
        let first = tensors.peek().copied();
        let rows = tensors.find(|tensor| tensor.shape.rows_and_columns().0 != 1).or(first);
        let leading =
            rows.as_ref().and_then(|rows| rows.shape.dims().split_last()).map_or(&[][..], |(_, leading)| leading);
        let mut shape = [0; MAX_RANK];
        shape[..leading.len()].copy_from_slice(leading);
        let rank = match kind {
            Kind::Number => leading.len(),
            _ => {
                shape[leading.len()] = dims + if kind == Kind::Vector { 0 } else { writer.extra() };
                leading.len() + 1
            }
        };
        Shape::new("output", &shape[..rank]).unwrap_or(Shape::of([0]))
    }

    /// Applies a function row by row. Each argument has the same leading dimensions, or a single row for all. The
    /// result has one row for each.
    ///
    /// Points and tangent vectors use the coordinates of the configured model, even if the function's name comes from
    /// the ball. The exceptions are `toLorentz`, which takes a point of the ball, and `toPoincare`, which takes a point
    /// of the hyperboloid, each of the same space.
    ///
    /// In the ball, results beyond `1 − 1e-5` of the radius are moved to that radius. Inputs beyond `1 − 3e-8` of the
    /// radius, even outside by at most 1e-3, are treated as if they were at that radius, so that distances from the
    /// origin never decrease toward the boundary. Points of the hyperboloid are not moved.
    ///
    /// # Errors
    /// `SHAPE` if shapes do not fit each other. `DOMAIN` if a point is off the manifold by more than 1e-3, or if 32-bit
    /// coordinates cannot represent a result: points of the hyperboloid more than about 88/√c from the origin.
    pub fn apply(
        &self,
        context: Context<'_>,
        options: &FunctionOptions,
        tensors: [Option<Tensor<'_>>; 3],
        output: &mut [f32],
    ) -> Result<()> {
        let FunctionOptions { factor, .. } = *options;
        ranges::number("factor", factor, factor.is_finite(), "a finite number")?;
        let (reader, writer) = self.coordinates_of(options.function);
        let (signature, kind) = options.function.signature();
        let named = signature.iter().zip(tensors);
        let arguments: Vec<Argument<'_>> =
            named.filter_map(|(&(name, kind), tensor)| Some(Argument::new(name, kind, tensor?))).collect();
        let (mut dims, mut rows): (_, Option<&Argument<'_>>) = (None, None);
        for argument in &arguments {
            dims = Some(argument.check_size(reader, dims)?);
            match rows {
                _ if argument.rows == 1 => {}
                None => rows = Some(argument),
                Some(other) if other.leading() == argument.leading() => {}
                Some(other) => {
                    let expected = format_args!("one row, or the rows of {} {}", other.name, other.tensor.shape);
                    return Err(Error::shape(argument.name, expected, argument.tensor.shape));
                }
            }
        }
        let rows = rows.map_or(1, |argument| argument.rows);
        let dims = dims.unwrap_or_default();
        let size = match kind {
            Kind::Number => 1,
            Kind::Vector => dims,
            _ => dims + writer.extra(),
        };
        check_output("output", output, rows.saturating_mul(size))?;
        // The number of empty rows may be too large to iterate over.
        if output.is_empty() {
            return Ok(());
        }
        let mut memory = Row::default();
        for row in 0..rows {
            memory.read(reader, &arguments, row)?;
        }
        let first_fault = AtomicUsize::new(usize::MAX);
        context.for_each_rows(rows, ROWS, operations([rows, dims + 4, 64]), [output], |item, [output]| {
            let mut memory = Row::default();
            for (row, output) in item.zip(output.chunks_exact_mut(size)) {
                // The same rows were already read above without an error.
                let _ = memory.read(reader, &arguments, row);
                memory.apply(writer, options, kind, output);
                if !output.iter().all(|value| value.is_finite()) {
                    first_fault.fetch_min(row, Ordering::Relaxed);
                }
            }
        });
        let (row, argument) = (first_fault.into_inner(), signature.last().map_or("x", |(name, _)| name));
        if row < rows {
            let actual = format_args!("row {row}, which leads beyond them");
            return Err(Error::new(
                Code::Domain,
                argument,
                "a result whose coordinates 32-bit floats can hold",
                actual,
            ));
        }
        Ok(())
    }

    /// Computes the distances of each row of a `[L, D]` from each row of b `[S, D]`: `[L, S]`.
    ///
    /// # Errors
    /// The same as [`Self::apply`].
    pub fn distance_matrix(
        &self,
        context: Context<'_>,
        a: Tensor<'_>,
        b: Tensor<'_>,
        output: &mut [f32],
    ) -> Result<()> {
        let (a, dims) = self.read_matrix("a", a, None)?;
        let (b, _) = self.read_matrix("b", b, Some(dims))?;
        check_output("output", output, a.len() * b.len())?;
        let operations = operations([a.len(), b.len(), dims + 32]);
        context.for_each_rows(a.len(), 1, operations, [output], |item, [distances]| {
            for (distance, point) in distances.iter_mut().zip(&b) {
                *distance = (ball::distance(&a[item.start], point) / self.coordinates.root) as f32;
            }
        });
        Ok(())
    }

    /// Computes the midpoints of points `[S, D]`, one for each row of non-negative weights `[L, S]`, or a single one
    /// under equal weights: `[L, D]`. They are geoopt's `weighted_midpoint`; in the Lorentz model the same point is
    /// known as the Lorentzian centroid. Without points, or with zero weights only, the midpoint is the origin.
    ///
    /// # Errors
    /// The same as [`Self::apply`], and `DOMAIN` if a weight is negative or NaN.
    pub fn midpoint(
        &self,
        context: Context<'_>,
        points: Tensor<'_>,
        weights: Option<Tensor<'_>>,
        output: &mut [f32],
    ) -> Result<()> {
        let (points, dims) = self.read_matrix("points", points, None)?;
        let count = points.len();
        let rows = match weights.map(|weights| (weights, weights.shape.rank(), weights.shape.rows_and_columns())) {
            None => 1,
            Some((_, 1 | 2, (rows, columns))) if columns == count => rows,
            Some((weights, ..)) => {
                return Err(Error::shape(
                    "weights",
                    format_args!("[L, {count}], a weight for each point"),
                    weights.shape,
                ));
            }
        };
        check_output("output", output, rows * (dims + self.coordinates.extra()))?;
        let weights = weights.map(|weights| weights.data);
        let is_wrong = |weight: &f32| !(*weight >= 0.0 && *weight < f32::INFINITY);
        if let Some((index, &weight)) =
            weights.and_then(|all| all.iter().enumerate().find(|(_, weight)| is_wrong(weight)))
        {
            let actual = format_args!("{} in row {}", Decimal(f64::from(weight)), index / count);
            return Err(Error::new(Code::Domain, "weights", "finite numbers of at least 0", actual));
        }
        context.for_each_rows(rows, 1, operations([rows, count, dims + 4, 4]), [output], |item, [output]| {
            let weight = |point| weights.map_or(1.0, |weights| f64::from(weights[item.start * count + point]));
            let mut middle = Point::default();
            ball::midpoint_of(&points, weight, dims, &mut middle);
            self.coordinates.write_point(&mut middle, output);
        });
        Ok(())
    }

    /// Reads the rows of a matrix as points. Returns them and their number of dimensions.
    fn read_matrix(&self, name: &'static str, tensor: Tensor<'_>, dims: Option<usize>) -> Result<(Vec<Point>, usize)> {
        let argument = Argument::new(name, Kind::Point, tensor);
        if tensor.shape.rank() != 2 {
            return Err(Error::shape(name, "2 dimensions, a point in each row", tensor.shape));
        }
        let dims = argument.check_size(self.coordinates, dims)?;
        let mut points = Vec::new();
        points.try_reserve_exact(argument.rows).map_err(|_| Error::memory(name, argument.rows))?;
        for row in 0..argument.rows {
            let mut point = Point::default();
            let off = self.coordinates.read_point(argument.row(row), &mut point);
            check_point(self.coordinates.model, name, format_args!("row {row}"), off)?;
            points.push(point);
        }
        Ok((points, dims))
    }
}
