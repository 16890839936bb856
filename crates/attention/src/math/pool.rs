//! Means over the rows of each batch entry or packed sequence.

use crate::context::{Context, operations};
use crate::error::{Error, Result};
use crate::math::sum::{length, total};
use crate::tensor::{Tensor, check_lengths, check_offsets, check_output};

/// The rows that are averaged.
#[derive(Debug, Clone, Copy, Default)]
pub enum Pooled<'a> {
    /// All rows of each batch entry, x `[B, L, M]`.
    #[default]
    All,
    /// The first rows of each batch entry, as many as its length says.
    Lengths(&'a [i32]),
    /// The rows of packed sequences, x `[T, M]`, by their cumulative lengths `[n + 1]`.
    CuSeqlens(&'a [i32]),
}

/// Computes the mean over the rows of each batch entry, x `[B, L, M]` → `[B, M]`, or of each packed sequence, x `[T,
/// M]` → `[n, M]`. `normalize` divides each mean by its Euclidean length, or by 10⁻¹² if that is larger, like
/// `torch.nn.functional.normalize`. No rows give zeros; rows beyond a length are never read.
///
/// # Errors
/// `SHAPE` if x has not 3 dimensions, or 2 if packed, or lengths or `output` another length; `OPTION` for a length
/// beyond L, or offsets that fall or do not end at T.
pub fn mean_pool(
    context: Context<'_>,
    x: Tensor<'_>,
    pooled: Pooled<'_>,
    normalize: bool,
    output: &mut [f32],
) -> Result<()> {
    let (means, columns) = match (pooled, x.shape.dims()) {
        (Pooled::CuSeqlens(offsets), &[rows, columns]) => {
            check_offsets("cu_seqlens", offsets, rows, "rows")?;
            (offsets.len() - 1, columns)
        }
        (Pooled::CuSeqlens(_), _) => return Err(Error::shape("x", "2 dimensions [T, M]", x.shape)),
        (Pooled::Lengths(lengths), &[batch, rows, columns]) => {
            check_lengths("lengths", Some(lengths), batch, rows, "rows")?;
            (batch, columns)
        }
        (Pooled::All, &[batch, _, columns]) => (batch, columns),
        _ => return Err(Error::shape("x", "3 dimensions [B, L, M]", x.shape)),
    };
    check_output("output", output, means.saturating_mul(columns))?;
    // Without columns, the number of rows could be too large to iterate over.
    if output.is_empty() {
        return Ok(());
    }
    context.for_each_rows(means, 1, operations([x.data.len(), 2]), [output], |item, [mean]| {
        let n = item.start;
        let rows = if x.shape.rank() == 3 { x.shape.dims()[1] } else { 0 };
        let rows = match pooled {
            Pooled::All => n * rows..(n + 1) * rows,
            Pooled::Lengths(lengths) => n * rows..n * rows + lengths[n] as usize,
            Pooled::CuSeqlens(offsets) => offsets[n] as usize..offsets[n + 1] as usize,
        };
        let count = rows.len();
        let rows = &x.data[rows.start * columns..rows.end * columns];
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
