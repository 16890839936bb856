//! One call: its header, its objects, and its arrays.
//!
//! The header is `[threads, training, part, parts, objects, id, …, rank, dim, …, rank, dim, …]`: the thread limit, whether a
//! layer trains, the part of how many that is to be computed, the objects that the call works on, then the shape of each
//! tensor argument in order, the mask's last where one is given.

use std::any::Any;
use std::sync::Arc;

use ruvector_attention::attention::mask::Mask;
use ruvector_attention::attention::{Arrays, Outputs};
use ruvector_attention::context::Partition;
use ruvector_attention::tensor::MAX_RANK;
use ruvector_attention::{Code, Context, Error, Result, Tensor};

use crate::object::Object;

/// The arrays of a call, as they come; what is absent is `None`.
#[derive(Debug, Default)]
pub struct Slots<'a> {
    /// Tensors and arrays of 32-bit floats; a float mask is the last.
    pub inputs: [Option<&'a [f32]>; 4],
    /// A boolean mask, or the bytes of a file.
    pub bytes: Option<&'a [u8]>,
    /// Arrays of integers: offsets or positions, then lengths.
    pub integers: [Option<&'a [i32]>; 2],
    /// Where results go.
    pub outputs: [Option<&'a mut [f32]>; 4],
    /// Where indices go.
    pub indices: Option<&'a mut [i32]>,
}

impl Slots<'_> {
    /// The same arrays for a shorter time.
    pub fn reborrow(&mut self) -> Slots<'_> {
        Slots {
            inputs: self.inputs,
            bytes: self.bytes,
            integers: self.integers,
            outputs: self.outputs.each_mut().map(Option::as_deref_mut),
            indices: self.indices.as_deref_mut(),
        }
    }
}

/// One call, its header read as far as the shapes.
pub(crate) struct Call<'a> {
    pub context: Context<'a>,
    /// Whether a layer trains.
    pub training: bool,
    /// The scalar options.
    pub options: Option<&'a str>,
    objects: Vec<Arc<dyn Object>>,
    shapes: &'a [f64],
    slots: Slots<'a>,
    next_input: usize,
}

impl<'a> Call<'a> {
    /// `context` has the level and the observer; threads and partition come from the header.
    pub(crate) fn new(
        context: Context<'a>,
        header: &'a [f64],
        objects: Vec<Arc<dyn Object>>,
        options: Option<&'a str>,
        slots: Slots<'a>,
    ) -> Result<Self> {
        let (_, shapes) = split_header(header)?;
        let partition = Partition { index: header[2] as usize, count: (header[3] as usize).max(1) };
        Ok(Self {
            context: Context { threads: (header[0] as usize).max(1), partition, ..context },
            training: header[1] != 0.0,
            options,
            objects,
            shapes,
            slots,
            next_input: 0,
        })
    }

    /// The object at `index` of the call's, which has to be of this type.
    pub fn object<T: Object>(&self, index: usize) -> Result<&T> {
        let object = self.objects.get(index).map(|object| &**object as &dyn Any);
        object
            .and_then(|object| object.downcast_ref())
            .ok_or_else(|| Error::new(Code::Internal, "object", std::any::type_name::<T>(), "another"))
    }

    /// The next tensor, which has to be there.
    pub fn tensor(&mut self, argument: &str) -> Result<Tensor<'a>> {
        self.optional_tensor(argument)?
            .ok_or_else(|| Error::new(Code::Internal, argument, "an array in the slot of the tensor", "none"))
    }

    /// The next tensor, or the absence of one.
    pub fn optional_tensor(&mut self, argument: &str) -> Result<Option<Tensor<'a>>> {
        self.optional_input().map(|data| self.with_shape(argument, data)).transpose()
    }

    /// The next array of floats without a shape of its own, or the absence of one.
    pub fn optional_input(&mut self) -> Option<&'a [f32]> {
        self.next_input += 1;
        self.slots.inputs.get(self.next_input - 1).copied().flatten()
    }

    /// The array of integers at `index`, or the absence of one.
    pub fn integers(&self, index: usize) -> Option<&'a [i32]> {
        self.slots.integers.get(index).copied().flatten()
    }

    /// The mask, whose shape comes after those of all tensors, and what else says which keys are seen.
    pub fn arrays(&mut self) -> Result<Arrays<'a>> {
        let mask = match (self.slots.bytes, self.slots.inputs[3]) {
            (Some(mask), _) => Some(Mask::Boolean(self.with_shape("mask", mask)?)),
            (None, Some(mask)) => Some(Mask::Float(self.with_shape("mask", mask)?)),
            (None, None) => None,
        };
        Ok(Arrays { mask, query_offset: self.integers(0), kv_lengths: self.integers(1) })
    }

    /// Where the first result goes; nowhere if there is none.
    pub fn output(&mut self) -> &'a mut [f32] {
        self.optional_output(0).unwrap_or_default()
    }

    /// Where the result at `index` goes, if it is asked for. Taken once.
    pub fn optional_output(&mut self, index: usize) -> Option<&'a mut [f32]> {
        self.slots.outputs.get_mut(index).and_then(Option::take)
    }

    /// Where indices go, if they are asked for. Taken once.
    pub fn indices(&mut self) -> Option<&'a mut [i32]> {
        self.slots.indices.take()
    }

    /// Where the results of attention go.
    pub fn attention_outputs(&mut self) -> Outputs<'a> {
        Outputs {
            output: self.output(),
            weights: self.optional_output(1),
            log_sum_exp: self.optional_output(2),
            top: self.optional_output(3).zip(self.indices()),
        }
    }

    /// The tensor over `data` whose shape comes next.
    fn with_shape<'t, T>(&mut self, argument: &str, data: &'t [T]) -> Result<Tensor<'t, T>> {
        let (&rank, rest) = self.shapes.split_first().ok_or_else(cut_short)?;
        let rank = rank as usize;
        if rank > MAX_RANK {
            let actual = format_args!("{rank} dimensions");
            return Err(Error::shape(argument, format_args!("at most {MAX_RANK} dimensions"), actual));
        }
        let (shape, rest) = rest.split_at_checked(rank).ok_or_else(cut_short)?;
        self.shapes = rest;
        let mut dims = [0; MAX_RANK];
        for (dim, &given) in dims.iter_mut().zip(shape) {
            // Whole numbers below 2⁵³: JavaScript checked them. What exceeds this machine's sizes saturates.
            *dim = given as usize;
        }
        Tensor::new(argument, data, &dims[..rank])
    }
}

/// The numbers of the objects, and the shapes.
fn split_header(header: &[f64]) -> Result<(&[f64], &[f64])> {
    let [_, _, _, _, count, rest @ ..] = header else { return Err(cut_short()) };
    rest.split_at_checked(*count as usize).ok_or_else(cut_short)
}

/// The numbers of the objects that a header names.
pub(crate) fn object_ids(header: &[f64]) -> Result<impl Iterator<Item = u32>> {
    Ok(split_header(header)?.0.iter().map(|&id| id as u32))
}

#[cold]
fn cut_short() -> Error {
    Error::new(Code::Internal, "header", "a shape for each tensor", "fewer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruvector_attention::simd::Level;

    fn call_on<'a>(header: &'a [f64], inputs: [Option<&'a [f32]>; 4]) -> Result<Call<'a>> {
        Call::new(Context::new(Level::Portable, 1), header, Vec::new(), None, Slots { inputs, ..Slots::default() })
    }

    #[test]
    fn shapes_are_read_in_order_and_a_short_header_is_a_fault() {
        let data = [0.5; 6];
        let inputs = [Some(&data[..]), Some(&data[..1]), None, Some(&data[..])];
        let mut call = call_on(&[3.0, 1.0, 0.0, 1.0, 0.0, 2.0, 2.0, 3.0, 0.0, 1.0, 6.0], inputs).unwrap();
        assert_eq!((call.context.threads, call.training), (3, true));
        assert_eq!(call.tensor("a").unwrap().shape.dims(), [2, 3]);
        assert_eq!(call.tensor("b").unwrap().shape.dims(), [] as [usize; 0]);
        assert!(call.optional_tensor("c").unwrap().is_none());
        assert_eq!(call.tensor("d").unwrap().shape.dims(), [6]);
        for header in [
            &[1.0, 0.0][..],
            &[1.0, 0.0, 0.0, 1.0, 1.0],
            &[1.0, 0.0, 0.0, 1.0, 0.0],
            &[1.0, 0.0, 0.0, 1.0, 0.0, 3.0, 2.0],
        ] {
            let fault = call_on(header, inputs).and_then(|mut call| call.tensor("a").map(|_| ())).unwrap_err();
            assert_eq!(fault.code, Code::Internal, "{header:?}");
        }
        assert_eq!(call_on(&[1.0, 0.0, 0.0, 1.0, 0.0, 9.0], inputs).unwrap().tensor("a").unwrap_err().argument, "a");
    }

    #[test]
    fn a_dimension_beyond_every_memory_is_a_shape_error() {
        let mut call =
            call_on(&[1.0, 0.0, 0.0, 1.0, 0.0, 3.0, 1e15, 1e15, 1e15], [Some(&[0.0; 4]), None, None, None]).unwrap();
        assert_eq!(call.tensor("x").unwrap_err().code, Code::Shape);
    }
}
