//! Attention by distance: reads points into the ball, runs the tiles of [`crate::attention`] on them, and writes
//! midpoints.

use crate::attention::ball::Ball;
use crate::attention::mask::Visibility;
use crate::attention::{self, Arrays, Outputs, Problem, Strides, WeightsOf};
use crate::context::rows::{RowLayout, Rows};
use crate::context::{Context, operations};
use crate::error::{Code, Error, Result};
use crate::math::weight::Weights;
use crate::options::Layout;
use crate::ranges;
use crate::sizes::KEY_BLOCK;
use crate::tensor::{Shape, Tensor, check_output, check_requested, try_zeroed};

use super::ball::{self, Point};
use super::{HyperbolicAttention, check_point};

/// The smallest gap of a point of the hyperboloid, at a distance of 42.8/√c. Further out, the squares of the
/// coordinates overflow single precision.
const SMALLEST_GAP: f64 = 1e-18;

/// The number of rows that one work item reads or writes.
const ROWS: usize = 64;

/// The options of [`HyperbolicAttention::forward`].
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct HyperbolicOptions {
    /// Restricts query `i` to the keys `j ≤ i + query_offset`; false by default.
    pub causal: bool,
    /// The key position of query 0, within 32 bits; 0 by default.
    pub query_offset: Option<i64>,
    /// Visible keys, from `left` before to `right` after the query's position; −1 leaves a side unlimited.
    pub window: Option<[i64; 2]>,
    /// Return the weights; requires an output for them.
    pub weights: bool,
}

impl HyperbolicOptions {
    /// Checks the range of every option.
    ///
    /// # Errors
    /// `OPTION` if one is out of range.
    pub fn check(&self) -> Result<()> {
        ranges::query_offset("query_offset", self.query_offset)?;
        ranges::window("window", self.window)
    }
}

/// Batch, length and size of the rows of one input with a known number of heads.
#[derive(Clone, Copy)]
struct Dims {
    layout: Layout,
    batch: usize,
    heads: usize,
    length: usize,
    size: usize,
}

/// Returns the cost of reading or writing `rows` rows of `size` values.
fn row_operations(rows: usize, size: usize) -> u64 {
    operations([rows, size + 8, 8])
}

impl Dims {
    fn of(argument: &str, shape: Shape, heads: usize) -> Result<Self> {
        match *shape.dims() {
            [batch, length, width] if width.is_multiple_of(heads) => {
                Ok(Self { layout: Layout::Blhd, batch, heads, length, size: width / heads })
            }
            [batch, count, length, size] if count == heads => {
                Ok(Self { layout: Layout::Bhld, batch, heads, length, size })
            }
            _ => {
                let expected =
                    format_args!("[B, length, {heads} · size] or [B, {heads}, length, size] for {heads} heads");
                Err(Error::shape(argument, expected, shape))
            }
        }
    }

    fn rows(&self) -> usize {
        self.batch * self.heads * self.length
    }

    /// Returns (b, h, i) of a row, counted in that order.
    fn indices(&self, row: usize) -> [usize; 3] {
        let (outer, i) = (row / self.length, row % self.length);
        [outer / self.heads, outer % self.heads, i]
    }

    /// Returns the start of a row in a tensor of this layout.
    fn start(&self, row: usize) -> usize {
        let [b, h, i] = self.indices(row);
        Strides::new(self.layout, self.heads, self.length, self.size).row(b, h, i)
    }
}

/// Points in the form that the kernels take.
struct Points {
    /// Coordinates of the ball of radius 1/√c, `[B, H, length, D]`.
    rows: Vec<f32>,
    /// A factor derived from each point's gap, `[B, H, length]`.
    factors: Vec<f32>,
    dims: usize,
}

impl HyperbolicAttention {
    /// Computes each query's midpoint of the values, weighted by softmax(−distance / temperature + bias) over the keys.
    ///
    /// q is `[B, L, heads · D]`, k `[B, S, heads · D]`, v `[B, S, heads · E]` and the output `[B, L, heads · E]`; or
    /// all have four dimensions, `[B, heads, L, D]` and so on. Weights are `[B, heads, L, S]`. D and E count the
    /// coordinates of the model; tangent vectors have as many coordinates as points of the ball.
    ///
    /// A row without a visible key has zero weights, and its output is the origin, an ordinary point. Points of the
    /// hyperboloid more than 42.8/√c from the origin are treated as if they were at that distance.
    ///
    /// # Errors
    /// `SHAPE` if shapes or lengths do not fit. `DOMAIN` if a visible point is off the manifold by more than 1e-3, or a
    /// tangent vector is not finite. `OPTION`, `MEMORY`.
    pub fn forward(
        &self,
        context: Context<'_>,
        [q, k, v]: [Tensor<'_>; 3],
        options: &HyperbolicOptions,
        arrays: Arrays<'_>,
        output: &mut [f32],
        weights: Option<&mut [f32]>,
    ) -> Result<()> {
        options.check()?;
        arrays.check_masks_alone()?;
        let heads = self.config.num_heads;
        let extra = if self.is_tangent { 0 } else { self.coordinates.extra() };
        let [queries, keys, values] =
            [Dims::of("q", q.shape, heads)?, Dims::of("k", k.shape, heads)?, Dims::of("v", v.shape, heads)?];
        let fits =
            |argument: &str, tensor: Tensor<'_>, other: Tensor<'_>, what: &str, expected: usize, actual: usize| {
                if tensor.shape.rank() == other.shape.rank() && expected == actual {
                    return Ok(());
                }
                let to_fit = if argument == "k" { "q" } else { "k" };
                let expected = format_args!("{what} {expected} to fit {to_fit} {}", other.shape);
                Err(Error::shape(argument, expected, tensor.shape))
            };
        fits("k", k, q, "batch size", queries.batch, keys.batch)?;
        fits("k", k, q, "a size of each head of", queries.size, keys.size)?;
        fits("v", v, k, "batch size", keys.batch, values.batch)?;
        fits("v", v, k, "length", keys.length, values.length)?;
        for (argument, tensor, dims) in [("q", q, queries), ("v", v, values)] {
            if dims.size < extra {
                let expected = format_args!("{heads} heads of points of the hyperboloid, D + 1 coordinates each");
                return Err(Error::shape(argument, expected, tensor.shape));
            }
        }
        let shape = [queries.batch, heads, queries.length, keys.length];
        attention::check_volume(shape, queries.size.max(values.size))?;
        let visibility = Visibility::new(
            shape,
            // A mask of three dimensions is [B, L, S], if there is only one head.
            if heads == 1 { q.shape.rank() } else { 4 },
            options.causal,
            options.window,
            options.query_offset.unwrap_or(0),
            &arrays,
        )?;
        let results = Dims { size: values.size, ..queries };
        check_output("out", output, results.rows() * results.size)?;
        check_requested("weights", options.weights, weights.is_some())?;
        if let Some(weights) = &weights {
            check_output("weights", weights, queries.rows() * keys.length)?;
        }
        let sees = |b, h, i, j| visibility.sees([b, h, i], j);
        let sees_any = |[b, h, i]: [usize; 3]| (0..keys.length).any(|j| sees(b, h, i, j));
        let seen_by_any = |[b, h, j]: [usize; 3]| (0..queries.length).any(|i| sees(b, h, i, j));
        let pass =
            attention::pass_operations(queries.rows(), keys.length, queries.size + values.size, visibility.causal());
        let passes = pass.saturating_mul(if weights.is_some() { 2 } else { 1 });
        let rows = [queries, keys, values, results].map(|dims| row_operations(dims.rows(), dims.size));
        context.announce_work(rows.into_iter().fold(passes, u64::saturating_add));
        let square = self.coordinates.root * self.coordinates.root;
        let query = self.read(context, "q", q, queries, &|gap| (square / gap).sqrt(), &sees_any)?;
        let key = self.read(context, "k", k, keys, &|gap| (1.0 / gap).sqrt(), &seen_by_any)?;
        let value = self.read(context, "v", v, values, &|gap| 2.0 / gap, &seen_by_any)?;
        let mut moments = try_zeroed("working memory", 2 * queries.rows())?;
        let inner = |points: &Points, dims: &Dims| Strides::new(Layout::Bhld, heads, dims.length, points.dims);
        let problem = Problem {
            q: &query.rows,
            k: Weights::F32(&key.rows),
            v: Weights::F32(&value.rows),
            q_strides: inner(&query, &queries),
            k_strides: inner(&key, &keys),
            v_strides: inner(&value, &values),
            output_strides: Strides::new(results.layout, heads, results.length, results.size),
            batch: queries.batch,
            heads,
            kv_heads: heads,
            queries: queries.length,
            keys: keys.length,
            first_rows: None,
            head_dim: query.dims,
            value_dim: value.dims,
            scale: 1.0,
            softcap: 0.0,
            visibility,
            dropout: None,
            key_block: KEY_BLOCK,
            ball: Some(Ball {
                curvature: square as f32,
                factor: (-2.0 / (self.coordinates.root * self.config.temperature)) as f32,
                queries: &query.factors,
                keys: &key.factors,
                values: &value.factors,
            }),
            section: None,
        };
        // Each point's sums are stored in place of its ball coordinates, after the model's extra coordinate if there is
        // one.
        let sums = output.get_mut(extra..).unwrap_or_default();
        let outputs = Outputs { output: sums, weights, ..Outputs::default() };
        attention::attend(context, &problem, outputs, WeightsOf::EachHead, Some(&mut moments))?;
        self.write_midpoints(context, results, &moments, output);
        Ok(())
    }

    /// Reads every row into the ball. An invalid row is an error if `is_seen`, and otherwise becomes the origin.
    fn read(
        &self,
        context: Context<'_>,
        argument: &str,
        tensor: Tensor<'_>,
        dims: Dims,
        factor: &(dyn Fn(f64) -> f64 + Sync),
        is_seen: &dyn Fn([usize; 3]) -> bool,
    ) -> Result<Points> {
        let size = if self.is_tangent { dims.size } else { dims.size - self.coordinates.extra() };
        let count = dims.rows();
        let mut points = Points {
            rows: try_zeroed("working memory", count * size)?,
            factors: try_zeroed("working memory", count)?,
            dims: size,
        };
        let inverse = 1.0 / self.coordinates.root;
        let outputs = [&mut *points.rows, &mut *points.factors];
        context.for_each_rows(count, ROWS, row_operations(count, size), outputs, |item, [rows, gaps]| {
            let (mut point, mut vector) = (Point::default(), Vec::new());
            for (index, row) in item.enumerate() {
                let off = self.read_row(&tensor.data[dims.start(row)..][..dims.size], &mut point, &mut vector);
                let is_point = off <= super::TOLERANCE;
                // NaN marks a row that is not a valid point; its coordinates stay at the origin.
                gaps[index] = if is_point { factor(point.gap.max(SMALLEST_GAP)) as f32 } else { f32::NAN };
                if is_point {
                    rows[index * size..][..size]
                        .iter_mut()
                        .zip(&point.x)
                        .for_each(|(to, x)| *to = (x * inverse) as f32);
                }
            }
        });
        for (row, gap) in points.factors.iter_mut().enumerate().filter(|(_, gap)| gap.is_nan()) {
            let indices @ [b, h, i] = dims.indices(row);
            if is_seen(indices) {
                let given = &tensor.data[dims.start(row)..][..dims.size];
                let off = self.read_row(given, &mut Point::default(), &mut Vec::new());
                let location = format_args!("batch {b}, row {i}, head {h}");
                if self.is_tangent {
                    let actual = format_args!("{location} with NaN or infinity");
                    return Err(Error::new(Code::Domain, argument, "finite tangent vectors", actual));
                }
                check_point(self.coordinates.model, argument, location, off)?;
            }
            *gap = factor(1.0) as f32;
        }
        Ok(points)
    }

    /// Reads one point, or the point that a tangent vector leads to. Returns its deviation from the manifold.
    fn read_row(&self, given: &[f32], point: &mut Point, vector: &mut Vec<f64>) -> f64 {
        if !self.is_tangent {
            return self.coordinates.read_point(given, point);
        }
        self.coordinates.read_vector(given, vector);
        self.coordinates.exp_origin(vector, point);
        if given.iter().all(|value| value.is_finite()) { 0.0 } else { f64::NAN }
    }

    /// Replaces each row's sums by the midpoint computed from them and from the moments.
    fn write_midpoints(&self, context: Context<'_>, dims: Dims, moments: &[f32], output: &mut [f32]) {
        let extra = if self.is_tangent { 0 } else { self.coordinates.extra() };
        if output.is_empty() {
            return;
        }
        let (heads, operations) = (dims.batch * dims.heads, row_operations(dims.rows(), dims.size));
        let strides = Strides::new(dims.layout, dims.heads, dims.length, dims.size);
        let shape = [dims.batch, dims.heads, dims.length];
        let output = [Some(Rows::new(output, RowLayout::new(shape, 1, strides, dims.size)))];
        context.for_each_head_rows([heads, dims.length, ROWS], operations, output, None, |item, [output], _| {
            let (Some(mut output), mut point, mut vector) = (output, Point::default(), Vec::new()) else { return };
            for i in item.rows {
                let (row, result) = (item.head * dims.length + i, output.row(i));
                self.coordinates.read_vector(&result[extra..], &mut vector);
                let [weight, spread] = [moments[2 * row], moments[2 * row + 1]].map(f64::from);
                ball::midpoint(&vector, weight, spread, &mut point);
                if self.is_tangent {
                    self.coordinates.write_log_origin(&point, &mut vector, result);
                } else {
                    self.coordinates.write_point(&mut point, result);
                }
            }
        });
    }
}
