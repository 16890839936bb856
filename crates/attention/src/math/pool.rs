//! Means over the rows of each batch entry.

use crate::context::{Context, operations};
use crate::error::{Error, Result};
use crate::math::dot::dot;
use crate::simd::{Kernel, Simd};
use crate::tensor::{Tensor, check_lengths, check_output};

/// Computes the mean over the first `lengths[b]` rows of each batch entry, by default over all: x `[B, L, M]` →
/// `[B, M]`. `normalize` divides each mean by its Euclidean length, or by 10⁻¹² if that is larger, like
/// `torch.nn.functional.normalize`. No rows give zeros; rows beyond the length are never read.
///
/// # Errors
/// `SHAPE` if x has not 3 dimensions, or lengths or `output` another length; `OPTION` for a length beyond L.
pub fn mean_pool(
    context: Context<'_>,
    x: Tensor<'_>,
    lengths: Option<&[i32]>,
    normalize: bool,
    output: &mut [f32],
) -> Result<()> {
    let &[batch, rows, columns] = x.shape.dims() else {
        return Err(Error::shape("x", "3 dimensions [B, L, M]", x.shape));
    };
    check_lengths("lengths", lengths, batch, rows, "rows")?;
    check_output("output", output, batch.saturating_mul(columns))?;
    // Then there may be more empty rows than can be gone through.
    if output.is_empty() {
        return Ok(());
    }
    context.for_each_rows(batch, 1, operations([x.data.len(), 2]), [output], |item, [mean]| {
        let b = item.start;
        let count = lengths.map_or(rows, |lengths| lengths[b] as usize);
        let rows = &x.data[b * rows * columns..][..count * columns];
        context.level.run(Mean { rows, count, normalize, mean });
    });
    Ok(())
}

struct Mean<'a> {
    rows: &'a [f32],
    count: usize,
    normalize: bool,
    mean: &'a mut [f32],
}

impl Kernel for Mean<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Self { rows, count, normalize, mean } = self;
        mean.fill(0.0);
        for row in rows.chunks_exact(mean.len().max(1)) {
            mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        let share = 1.0 / count.max(1) as f32;
        mean.iter_mut().for_each(|value| *value *= share);
        if normalize {
            let length = dot(simd, mean, mean).sqrt().max(1e-12);
            mean.iter_mut().for_each(|value| *value /= length);
        }
    }
}
