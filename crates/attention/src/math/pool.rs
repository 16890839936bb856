//! Means over the rows of each batch entry.

use crate::context::{Context, operations};
use crate::error::{Error, Result};
use crate::math::sum::{length, total};
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
    // Without columns, the number of rows could be too large to iterate over.
    if output.is_empty() {
        return Ok(());
    }
    context.for_each_rows(batch, 1, operations([x.data.len(), 2]), [output], |item, [mean]| {
        let b = item.start;
        let count = lengths.map_or(rows, |lengths| lengths[b] as usize);
        let rows = &x.data[b * rows * columns..][..count * columns];
        let share = 1.0 / count.max(1) as f64;
        total(count, &|row| Some((share, &rows[row * columns..][..columns])), mean);
        if normalize {
            // In doubles, where squares neither overflow nor vanish.
            let factor = 1.0 / length(mean).max(1e-12);
            mean.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
        }
    });
    Ok(())
}
