//! Sums and products of two tensors, whose shapes are broadcast from the right as in NumPy.

use std::ops::Range;

use crate::context::{Context, operations};
use crate::error::{Error, Result};
use crate::simd::{Kernel, Simd};
use crate::tensor::{MAX_RANK, Shape, Tensor, check_output};

/// The operation on each pair of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combine {
    /// `a + b`.
    Add,
    /// `a · b`.
    Multiply,
}

/// Returns the shape of both tensors broadcast against each other: aligned at their last dimensions, where a dimension
/// of 1, or one that is missing, repeats.
///
/// # Errors
/// `SHAPE` if two dimensions differ and neither is 1.
pub fn broadcast_shape(a: Shape, b: Shape) -> Result<Shape> {
    let rank = a.rank().max(b.rank());
    let mut dims = [1; MAX_RANK];
    for (index, dim) in dims[..rank].iter_mut().enumerate() {
        *dim = match (aligned(a, rank, index), aligned(b, rank, index)) {
            (1, other) | (other, 1) => other,
            (one, other) if one == other => one,
            _ => return Err(Error::shape("b", format_args!("a shape that broadcasts with a {a}"), b)),
        };
    }
    Shape::new("b", &dims[..rank])
}

/// Returns dimension `index` of a shape that is extended to `rank` by leading ones.
fn aligned(shape: Shape, rank: usize, index: usize) -> usize {
    (index + shape.rank()).checked_sub(rank).map_or(1, |own| shape.dims()[own])
}

/// Computes `output = a + b` or `a · b`, with the shape that [`broadcast_shape`] returns.
///
/// # Errors
/// `SHAPE` if the shapes do not broadcast, or `output` has another length.
pub fn combine(context: Context<'_>, combine: Combine, a: Tensor<'_>, b: Tensor<'_>, output: &mut [f32]) -> Result<()> {
    let shape = broadcast_shape(a.shape, b.shape)?;
    // A zero dimension makes the result empty, however large the other dimensions are.
    let count = shape.checked_len().unwrap_or(usize::MAX);
    check_output("output", output, count)?;
    // About 20 µs of work per item.
    const VALUES_PER_ITEM: usize = 1 << 16;
    let axes = Axes::new(shape, a.shape, b.shape);
    context.for_each_rows(count, VALUES_PER_ITEM, operations([count]), [output], |item, [values]| {
        axes.for_each_run(item, &mut |run, [first_a, first_b]| {
            let [a, b] = [(a.data, first_a, axes.steps[0]), (b.data, first_b, axes.steps[1])]
                .map(|(data, first, step)| &data[first..][..if step == 0 { 1 } else { run.len() }]);
            context.level.run(Run { combine, a, b, output: &mut values[run] });
        });
    });
    Ok(())
}

/// The dimensions of the result, with neighbors joined that both inputs step through alike.
pub(crate) struct Axes {
    /// The size of each outer axis, and the step of each input along it; innermost first.
    outer: [(usize, [usize; 2]); MAX_RANK],
    count: usize,
    /// The innermost axis, along which each input steps by 1 or repeats its value.
    run: usize,
    pub(crate) steps: [usize; 2],
}

impl Axes {
    pub(crate) fn new(shape: Shape, a: Shape, b: Shape) -> Self {
        let mut axes = Self { outer: [(1, [0; 2]); MAX_RANK], count: 0, run: 1, steps: [1; 2] };
        let mut strides = [1; 2];
        let mut is_first = true;
        for index in (0..shape.rank()).rev() {
            let size = shape.dims()[index];
            if size == 1 {
                continue;
            }
            let own = [a, b].map(|shape_of| aligned(shape_of, shape.rank(), index));
            let steps = [0, 1].map(|input| if own[input] == 1 { 0 } else { strides[input] });
            for (stride, own) in strides.iter_mut().zip(own) {
                *stride *= own;
            }
            let last = match axes.count.checked_sub(1) {
                Some(last) => axes.outer[last],
                None => (axes.run, axes.steps),
            };
            let joins = steps == last.1.map(|step| step * last.0);
            match (is_first, joins, axes.count) {
                (true, ..) => (axes.run, axes.steps) = (size, steps),
                (_, true, 0) => axes.run *= size,
                (_, true, count) => axes.outer[count - 1].0 *= size,
                (_, false, count) => {
                    axes.outer[count] = (size, steps);
                    axes.count += 1;
                }
            }
            is_first = false;
        }
        axes
    }

    /// Divides a range of the result into runs along the innermost axis. `visit` receives each run, relative to the
    /// range, and the index of its first value in each input.
    pub(crate) fn for_each_run(&self, range: Range<usize>, visit: &mut dyn FnMut(Range<usize>, [usize; 2])) {
        let mut at = range.start;
        while at < range.end {
            let (mut rest, within) = (at / self.run, at % self.run);
            let mut first = self.steps.map(|step| step * within);
            for &(size, steps) in &self.outer[..self.count] {
                for (first, step) in first.iter_mut().zip(steps) {
                    *first += rest % size * step;
                }
                rest /= size;
            }
            let end = range.end.min(at + self.run - within);
            visit(at - range.start..end - range.start, first);
            at = end;
        }
    }
}

/// One run of the result. An input of a single value repeats it.
struct Run<'a> {
    combine: Combine,
    a: &'a [f32],
    b: &'a [f32],
    output: &'a mut [f32],
}

impl Kernel for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        // Both operations are commutative, so a single value can always be the second input.
        let (a, b) = if self.a.len() < self.b.len() { (self.b, self.a) } else { (self.a, self.b) };
        let apply = |a: f32, b: f32| if self.combine == Combine::Add { a + b } else { a * b };
        let whole = if a.len() == self.output.len() { self.output.len() - self.output.len() % S::LANES } else { 0 };
        let repeats = b.len() < a.len();
        for at in (0..whole).step_by(S::LANES) {
            let (x, y) = (simd.load(&a[at..]), if repeats { simd.splat(b[0]) } else { simd.load(&b[at..]) });
            simd.store(&mut self.output[at..], if self.combine == Combine::Add { x + y } else { x * y });
        }
        for (at, output) in self.output.iter_mut().enumerate().skip(whole) {
            *output = apply(a[at.min(a.len() - 1)], b[at.min(b.len() - 1)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Level;

    fn combined(a: &[usize], b: &[usize]) -> Result<(Vec<usize>, Vec<f32>)> {
        let values = |dims: &[usize], factor: usize| -> Vec<f32> {
            (0..dims.iter().product()).map(|index: usize| (index * factor % 101) as f32).collect()
        };
        let (left, right) = (values(a, 7), values(b, 13));
        let [x, y] = [Tensor::new("a", &left, a)?, Tensor::new("b", &right, b)?];
        let shape = broadcast_shape(x.shape, y.shape)?;
        let mut output = vec![f32::NAN; shape.checked_len().unwrap()];
        combine(Context::new(Level::current(), 2), Combine::Multiply, x, y, &mut output)?;
        Ok((shape.dims().to_vec(), output))
    }

    #[test]
    fn shapes_broadcast_from_the_right_in_every_combination() {
        let shapes: [&[usize]; 12] = [
            &[],
            &[1],
            &[5],
            &[3, 1],
            &[3, 5],
            &[2, 1, 5],
            &[2, 3, 1],
            &[1, 3, 5],
            &[2, 3, 5],
            &[2, 1, 1],
            &[1, 1, 1],
            &[4, 2, 1, 5],
        ];
        for a in shapes {
            for b in shapes {
                let (shape, output) = combined(a, b).unwrap();
                for (index, &value) in output.iter().enumerate() {
                    let at = |dims: &[usize], factor: usize| {
                        let (mut rest, mut place, mut stride) = (index, 0, 1);
                        for (axis, &size) in shape.iter().enumerate().rev() {
                            let own = (axis + dims.len()).checked_sub(shape.len()).map_or(1, |own| dims[own]);
                            place += rest % size % own * stride;
                            (rest, stride) = (rest / size, stride * own);
                        }
                        (place * factor % 101) as f32
                    };
                    assert_eq!(value, at(a, 7) * at(b, 13), "{a:?} {b:?} {index}");
                }
            }
        }
    }

    #[test]
    fn large_tensors_are_divided_at_any_value() {
        let (shape, output) = combined(&[300, 1, 701], &[2, 1]).unwrap();
        assert_eq!(shape, [300, 2, 701]);
        let (row, column) = (299 * 701 * 7, 700 * 7);
        assert_eq!(*output.last().unwrap(), ((row + column) % 101 * 13) as f32);
    }

    #[test]
    fn an_empty_dimension_gives_an_empty_result() {
        assert_eq!(combined(&[3, 0], &[1]).unwrap().0, [3, 0]);
        assert_eq!(combined(&[0], &[4, 1]).unwrap().0, [4, 0]);
    }

    #[test]
    fn dimensions_that_differ_are_an_error_that_names_both_shapes() {
        let error = combined(&[2, 3], &[2]).unwrap_err();
        assert_eq!((error.code, error.argument.as_str()), (crate::Code::Shape, "b"));
        assert_eq!((error.expected.as_str(), error.actual.as_str()), ("a shape that broadcasts with a [2, 3]", "[2]"));
    }
}
