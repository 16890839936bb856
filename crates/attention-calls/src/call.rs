//! One call: its options and objects, and its inputs and results in the order of the operation's signature.

use std::any::Any;
use std::sync::Arc;

use ruvector_attention::attention::Arrays;
use ruvector_attention::attention::mask::Mask;
use ruvector_attention::context::Partition;
use ruvector_attention::math::weight::Weight;
use ruvector_attention::tensor::{MAX_RANK, Shape};
use ruvector_attention::{Code, Context, Error, Result, Tensor};
use serde::Deserialize;

use crate::memory::{Area, Array, ArrayMut, CallMemory, Element, Results};
use crate::object::{self, Object};
use crate::operations::Operation;
use crate::options::{Names, read, read_with};

/// The number that marks an object among the results.
const OBJECT: f64 = 7.0;
/// The number that ends the list of results.
const END: f64 = -1.0;

/// The part of a call's header before its inputs.
pub(crate) struct Start<'a> {
    pub threads: usize,
    /// True if a layer is in training mode; in a call that creates one, if its parameters are about to be loaded.
    pub training: bool,
    pub partition: Partition,
    /// The numbers of elements that inputs occupy in the areas of floats, integers and bytes.
    used: [usize; 3],
    objects: &'a [f64],
    inputs: &'a [f64],
}

impl<'a> Start<'a> {
    pub fn new(header: &'a [f64]) -> Result<Self> {
        let [threads, training, part, parts, floats, integers, bytes, count, rest @ ..] = header else {
            return Err(cut_short());
        };
        let (objects, inputs) = rest.split_at_checked(*count as usize).ok_or_else(cut_short)?;
        Ok(Self {
            threads: (*threads as usize).max(1),
            training: *training != 0.0,
            partition: Partition { index: *part as usize, count: (*parts as usize).max(1) },
            used: [*floats as usize, *integers as usize, *bytes as usize],
            objects,
            inputs,
        })
    }

    /// Returns the numbers of the objects that the call uses.
    pub fn ids(&self) -> impl Iterator<Item = u32> + use<> {
        let mut ids = [0; 4];
        let count = self.objects.len().min(ids.len());
        ids.iter_mut().zip(self.objects).for_each(|(to, &id)| *to = id as u32);
        ids.into_iter().take(count)
    }

    /// Returns the objects that the call uses, which belong to this thread.
    pub fn objects(&self) -> Result<Vec<Arc<dyn Object>>> {
        self.objects.iter().map(|&id| object::find(id as u32)).collect()
    }

    /// Returns the inputs with their positions and shapes.
    pub fn slots(&self) -> Slots<'a> {
        Slots(self.inputs)
    }
}

/// An input as described in the header.
pub(crate) struct Slot {
    pub element: Element,
    /// The start of the input in its area, or `−1 − index` in the list of arrays.
    pub place: f64,
    pub shape: Shape,
}

/// The inputs left to read from the header.
pub(crate) struct Slots<'a>(&'a [f64]);

impl Slots<'_> {
    /// Returns the next input, or `None` if it is absent; `name` is for errors.
    pub fn next(&mut self, name: &str) -> Result<Option<Slot>> {
        let (&element, rest) = self.0.split_first().ok_or_else(cut_short)?;
        self.0 = rest;
        let Some(element) = Element::of(element) else { return Ok(None) };
        let &[place, rank, ref rest @ ..] = rest else { return Err(cut_short()) };
        if rank > MAX_RANK as f64 {
            // As an integer: displaying a float would link 15 KB of the standard library into the module.
            let actual = format_args!("{} dimensions", rank as u64);
            return Err(Error::shape(name, format_args!("at most {MAX_RANK} dimensions"), actual));
        }
        let (given, rest) = rest.split_at_checked(rank as usize).ok_or_else(cut_short)?;
        self.0 = rest;
        let mut dims = [0; MAX_RANK];
        for (dim, &given) in dims.iter_mut().zip(given) {
            // An integer below 2⁵³, as JavaScript has checked. One that exceeds this machine's sizes saturates.
            *dim = given as usize;
        }
        Ok(Some(Slot { element, place, shape: Shape::new(name, &dims[..given.len()])? }))
    }
}

/// The arrays of a call outside of its memory.
#[derive(Clone, Copy)]
pub struct Outside<'a> {
    /// The inputs.
    pub arrays: &'a [Array<'a>],
    /// Allocates results.
    pub results: &'a dyn Results,
}

/// One call. Its inputs and results must be taken in the order of the signature.
pub(crate) struct Call<'a> {
    pub context: Context<'a>,
    /// True if a layer is in training mode; in a call that creates one, if its parameters are about to be loaded.
    pub training: bool,
    /// The scalar options as JSON.
    pub json: Option<&'a str>,
    objects: &'a [Arc<dyn Object>],
    operation: &'static Operation,
    next_input: usize,
    slots: Slots<'a>,
    areas: [Area<'a>; 3],
    outside: Outside<'a>,
    /// The caller's memory for the first result.
    out: Option<&'a mut [f32]>,
    results: Described<'a>,
}

impl<'a> Call<'a> {
    /// Creates the call described in `memory`; `objects` are those that its header names. Level and observer come from
    /// `context`, threads and partition from the header.
    pub fn new(
        context: Context<'a>,
        operation: &'static Operation,
        memory: &'a mut CallMemory,
        json: Option<&'a str>,
        objects: &'a [Arc<dyn Object>],
        outside: Outside<'a>,
        out: Option<&'a mut [f32]>,
    ) -> Result<Self> {
        let CallMemory { header, results, floats, integers, bytes } = memory;
        let start = Start::new(header)?;
        let areas = [ArrayMut::F32(floats), ArrayMut::I32(integers), ArrayMut::U8(bytes)];
        let mut used = start.used.into_iter();
        Ok(Self {
            context: Context { threads: start.threads, partition: start.partition, ..context },
            training: start.training,
            json,
            objects,
            operation,
            next_input: 0,
            slots: start.slots(),
            areas: areas.map(|area| Area::new(area, used.next().unwrap_or(0))),
            outside,
            out,
            results: Described::new(results),
        })
    }

    /// Reads the options, of which this operation does not accept those in `without`.
    pub fn options<T: Deserialize<'a> + Default>(&self, without: &'a [&'a str]) -> Result<T> {
        read(self.json, self.names(without))
    }

    /// Reads the options like [`Self::options`], and returns whether the option `name` is given.
    pub fn options_with<T: Deserialize<'a> + Default>(&self, without: &'a [&'a str], name: &str) -> Result<(T, bool)> {
        read_with(self.json, self.names(without), name)
    }

    fn names(&self, without: &'a [&'a str]) -> Names<'a> {
        let Operation { inputs, takes_out, .. } = *self.operation;
        Names { inputs, takes_out, without }
    }

    /// Returns the call's object at `index`, which must have this type.
    pub fn object<T: Object>(&self, index: usize) -> Result<&'a T> {
        let object = self.objects.get(index).map(|object| &**object as &dyn Any);
        object
            .and_then(|object| object.downcast_ref())
            .ok_or_else(|| Error::new(Code::Internal, "object", std::any::type_name::<T>(), "another"))
    }

    /// Returns the call's object at `index`, if there is one of this type.
    pub fn object_of<T: Object>(&self, index: usize) -> Option<&'a T> {
        self.optional_object(index).ok().flatten()
    }

    /// Returns the call's object at `index`, or `None` if it has fewer objects; the object must have this type.
    pub fn optional_object<T: Object>(&self, index: usize) -> Result<Option<&'a T>> {
        if index < self.objects.len() { self.object(index).map(Some) } else { Ok(None) }
    }

    /// Returns the next input, or `None` if it is absent.
    pub fn input(&mut self) -> Result<Option<Given<'a>>> {
        let input = self.operation.inputs.get(self.next_input).ok_or_else(cut_short)?;
        self.next_input += 1;
        let Some(Slot { element, place, shape }) = self.slots.next(input.name)? else {
            return match input.is_optional() {
                true => Ok(None),
                false => Err(Error::new(Code::Internal, input.name, "an array", "none")),
            };
        };
        let array = if place < 0.0 {
            self.outside.arrays.get((-1.0 - place) as usize).copied()
        } else {
            self.areas.iter().find_map(|area| area.input(element, place, shape.checked_len()?))
        };
        let array = array.filter(|array| array.element() == element).ok_or_else(cut_short)?;
        if !input.elements.contains(&element) {
            return Err(Error::new(Code::Dtype, input.name, input.elements[0].array_name(), element.array_name()));
        }
        Ok(Some(Given { name: input.name, array, shape }))
    }

    /// Returns the shape of the next input, whose elements need not be available.
    pub fn shape(&mut self) -> Result<Option<Shape>> {
        let input = self.operation.inputs.get(self.next_input).ok_or_else(cut_short)?;
        self.next_input += 1;
        Ok(self.slots.next(input.name)?.map(|slot| slot.shape))
    }

    /// Skips inputs up to the one with this name, and returns whether that is given.
    pub fn has_input(&mut self, name: &str) -> Result<bool> {
        while let Some(input) = self.operation.inputs.get(self.next_input) {
            let is_given = self.shape()?.is_some();
            if input.name == name {
                return Ok(is_given);
            }
        }
        Ok(false)
    }

    /// Returns the next input, a tensor of floats.
    pub fn tensor(&mut self) -> Result<Tensor<'a>> {
        self.optional_tensor()?.ok_or_else(cut_short)
    }

    /// Returns the next input, a tensor of floats, or `None` if it is absent.
    pub fn optional_tensor(&mut self) -> Result<Option<Tensor<'a>>> {
        let given = self.input()?.and_then(|given| Some((given.array.f32()?, given)));
        given.map(|(data, given)| Tensor::new(given.name, data, given.shape.dims())).transpose()
    }

    /// Returns the next two inputs: weights of any type, and their scales. Bits of halves are bfloat16 if `is_bfloat`.
    pub fn weight(&mut self, is_bfloat: bool) -> Result<Weight<'a>> {
        let Given { name, array, shape } = self.input()?.ok_or_else(cut_short)?;
        let scales = self.input()?.and_then(|given| given.array.u16());
        match array {
            Array::F32(data) => Ok(Tensor::new(name, data, shape.dims())?.into()),
            Array::U16(bits) => Weight::halves(name, is_bfloat, bits, shape.dims()),
            Array::I8(values) => Weight::quantized(name, values, scales.unwrap_or_default(), shape.dims()),
            _ => Err(cut_short()),
        }
    }

    /// Returns the next two inputs like [`Self::weight`], or `None` if they are absent.
    #[cfg(feature = "training")]
    pub fn optional_weight(&mut self, is_bfloat: bool) -> Result<Option<Weight<'a>>> {
        // Looks ahead: a weight consists of two inputs.
        let [element, ..] = self.slots.0 else { return Err(cut_short()) };
        if Element::of(*element).is_some() {
            return self.weight(is_bfloat).map(Some);
        }
        self.input()?;
        self.input()?;
        Ok(None)
    }

    /// Returns the next input, floats without a shape, or `None` if it is absent.
    pub fn floats(&mut self) -> Result<Option<&'a [f32]>> {
        Ok(self.input()?.and_then(|given| given.array.f32()))
    }

    /// Returns the next input, integers, or `None` if it is absent.
    pub fn integers(&mut self) -> Result<Option<&'a [i32]>> {
        Ok(self.input()?.and_then(|given| given.array.i32()))
    }

    /// Returns the next input, a tensor of integers, or `None` if it is absent.
    pub fn integer_tensor(&mut self) -> Result<Option<Tensor<'a, i32>>> {
        let given = self.input()?.and_then(|given| Some((given.array.i32()?, given)));
        given.map(|(data, given)| Tensor::new(given.name, data, given.shape.dims())).transpose()
    }

    /// Returns the next input, doubles given as pairs of integers with their bits, or `None` if it is absent.
    pub fn doubles(&mut self) -> Result<Option<Vec<f64>>> {
        let double = |&[first, second]: &[i32; 2]| {
            let mut bytes = [0; 8];
            bytes[..4].copy_from_slice(&first.to_ne_bytes());
            bytes[4..].copy_from_slice(&second.to_ne_bytes());
            f64::from_ne_bytes(bytes)
        };
        Ok(self.integers()?.map(|words| words.as_chunks().0.iter().map(double).collect()))
    }

    /// Returns the inputs mask, queryOffset and kvLengths, and those of relativeBias, cuSeqlens, cuSeqlensKeys and
    /// sinks that the operation has.
    pub fn arrays(&mut self) -> Result<Arrays<'a>> {
        let mask = match self.input()? {
            Some(Given { name, array: Array::U8(mask), shape }) => {
                Some(Mask::Boolean(Tensor::new(name, mask, shape.dims())?))
            }
            Some(Given { name, array: Array::F32(mask), shape }) => {
                Some(Mask::Float(Tensor::new(name, mask, shape.dims())?))
            }
            _ => None,
        };
        let mut arrays =
            Arrays { mask, query_offset: self.integers()?, kv_lengths: self.integers()?, ..Arrays::default() };
        while let Some(input) = self.operation.inputs.get(self.next_input) {
            match input.name {
                "relativeBias" => arrays.relative_bias = self.optional_tensor()?,
                "cuSeqlens" => arrays.cu_seqlens = self.integers()?,
                "cuSeqlensKeys" => arrays.cu_seqlens_keys = self.integers()?,
                "sinks" => arrays.sinks = self.optional_tensor()?.map(vector).transpose()?,
                _ => break,
            }
        }
        Ok(arrays)
    }

    /// Returns zeros for the next result, a tensor of floats. The first result uses the caller's memory if there is
    /// any.
    pub fn output(&mut self, shape: &[usize]) -> Result<&'a mut [f32]> {
        let Some(out) = self.out.take() else {
            return self.result(Element::F32, shape)?.f32().ok_or_else(cut_short);
        };
        let len = self.count(shape)?;
        if out.len() != len {
            let actual = format_args!("a length of {}", out.len());
            return Err(Error::shape("out", format_args!("a length of {len}"), actual));
        }
        self.results.push(&[Element::F32.number(), 0.0], shape)?;
        Ok(out)
    }

    /// Returns zeros like [`Self::output`] for the shape of an input, but with another last dimension.
    pub fn output_like(&mut self, shape: Shape, last: usize) -> Result<&'a mut [f32]> {
        self.output(shape.with_last(last).dims())
    }

    /// Returns zeros like [`Self::output`] if the result is requested; otherwise the result is absent.
    pub fn output_if(&mut self, is_asked: bool, shape: &[usize]) -> Result<Option<&'a mut [f32]>> {
        if !is_asked {
            return self.absent().map(|()| None);
        }
        self.output(shape).map(Some)
    }

    /// Returns zeros like [`Self::output`] in the shape of an input that may be absent, as the result then is too.
    #[cfg(feature = "training")]
    pub fn output_like_optional(&mut self, input: Option<Tensor<'_>>) -> Result<Option<&'a mut [f32]>> {
        self.output_if(input.is_some(), input.as_ref().map_or(&[], |input| input.shape.dims()))
    }

    /// Returns zeros for the next result, integers.
    pub fn integer_output(&mut self, shape: &[usize]) -> Result<&'a mut [i32]> {
        self.result(Element::I32, shape)?.i32().ok_or_else(cut_short)
    }

    /// Returns zeros for the next result.
    pub fn result(&mut self, element: Element, shape: &[usize]) -> Result<ArrayMut<'a>> {
        let len = self.count(shape)?;
        let (memory, place) = match self.areas.iter_mut().find_map(|area| area.take(element, len)) {
            Some((memory, place)) => (memory, place as f64),
            None => {
                let memory = self.outside.results.allocate(element, len);
                (memory.ok_or_else(|| self.no_memory(len as u64))?, self.results.next_outside())
            }
        };
        self.results.push(&[element.number(), place], shape)?;
        Ok(memory)
    }

    /// Returns the number of elements of the next result.
    fn count(&self, shape: &[usize]) -> Result<usize> {
        // A zero dimension makes the result empty, however large the other dimensions are.
        let len = match shape.contains(&0) {
            true => 0,
            false => shape.iter().fold(1, |product: u64, &dim| product.saturating_mul(dim as u64)),
        };
        usize::try_from(len).map_err(|_| self.no_memory(len))
    }

    #[cold]
    fn no_memory(&self, len: u64) -> Error {
        let name = self.operation.results.get(self.results.count).copied().unwrap_or("output");
        let name = name.split('.').next().unwrap_or(name);
        Error::new(Code::Memory, name, "a size that fits into memory", format_args!("{len} elements"))
    }

    /// Marks the next result as absent.
    pub fn absent(&mut self) -> Result<()> {
        self.results.count += 1;
        self.results.push_number(0.0)
    }

    /// Returns an object as a result; it belongs to this thread from now on.
    pub fn keep(&mut self, object: Arc<dyn Object>) -> Result<()> {
        self.results.push_number(OBJECT)?;
        self.results.push_number(f64::from(object::keep(object)))
    }
}

/// Returns the values of a tensor with one dimension.
fn vector(sinks: Tensor<'_>) -> Result<&[f32]> {
    match sinks.shape.rank() {
        1 => Ok(sinks.data),
        _ => Err(Error::shape("sinks", "1 dimension [H]", sinks.shape)),
    }
}

/// An input of a call.
pub(crate) struct Given<'a> {
    pub name: &'static str,
    pub array: Array<'a>,
    pub shape: Shape,
}

/// The results of a call, as described to the other side.
struct Described<'a> {
    rest: &'a mut [f64],
    /// The number of results so far, and how many of them are outside of the call's memory.
    count: usize,
    outside: usize,
}

impl<'a> Described<'a> {
    fn new(rest: &'a mut [f64]) -> Self {
        rest.fill(END);
        Self { rest, count: 0, outside: 0 }
    }

    /// Returns the position of the next result outside of the call's memory.
    fn next_outside(&mut self) -> f64 {
        self.outside += 1;
        -(self.outside as f64)
    }

    fn push_number(&mut self, number: f64) -> Result<()> {
        let (first, rest) = std::mem::take(&mut self.rest).split_first_mut().ok_or_else(cut_short)?;
        *first = number;
        self.rest = rest;
        Ok(())
    }

    /// Appends element type, position, rank and dimensions of a result.
    fn push(&mut self, start: &[f64], shape: &[usize]) -> Result<()> {
        self.count += 1;
        for &number in start {
            self.push_number(number)?;
        }
        self.push_number(shape.len() as f64)?;
        shape.iter().try_for_each(|&dim| self.push_number(dim as f64))
    }
}

#[cold]
fn cut_short() -> Error {
    Error::new(Code::Internal, "header", "inputs and results as the signature has them", "others")
}
