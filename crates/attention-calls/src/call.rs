//! One call: its inputs in the order of its operation's signature, its options, its objects, and its results.

use std::any::Any;
use std::sync::Arc;

use ruvector_attention::attention::Arrays;
use ruvector_attention::attention::mask::Mask;
use ruvector_attention::context::Partition;
use ruvector_attention::tensor::{MAX_RANK, Shape};
use ruvector_attention::{Code, Context, Error, Result, Tensor};
use serde::Deserialize;

use crate::memory::{Area, Array, ArrayMut, CallMemory, Element, Results};
use crate::object::{self, Object};
use crate::operations::Operation;
use crate::options::{Names, read_with};

/// The number that stands for an object among the results.
const OBJECT: f64 = 7.0;
/// The number that ends the results.
const END: f64 = -1.0;

/// The part of a call's header before its inputs.
pub(crate) struct Start<'a> {
    pub threads: usize,
    /// True if a layer trains.
    pub training: bool,
    pub partition: Partition,
    /// Elements that inputs occupy in the areas of floats, integers and bytes.
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

    /// The numbers of the objects that the call names.
    pub fn ids(&self) -> impl Iterator<Item = u32> + use<> {
        let mut ids = [0; 4];
        let count = self.objects.len().min(ids.len());
        ids.iter_mut().zip(self.objects).for_each(|(to, &id)| *to = id as u32);
        ids.into_iter().take(count)
    }

    /// The objects that the call names, which are this thread's.
    pub fn objects(&self) -> Result<Vec<Arc<dyn Object>>> {
        self.objects.iter().map(|&id| object::find(id as u32)).collect()
    }

    /// The inputs, each where it lies and of which shape.
    pub fn slots(&self) -> Slots<'a> {
        Slots(self.inputs)
    }
}

/// An input as the header describes it.
pub(crate) struct Slot {
    pub element: Element,
    /// Its start in its area, or `−1 − index` in the list of arrays.
    pub place: f64,
    pub shape: Shape,
}

/// The inputs that the header still has.
pub(crate) struct Slots<'a>(&'a [f64]);

impl Slots<'_> {
    /// The next input, or the absence of one; `name` is for errors.
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
            // Whole numbers below 2⁵³: JavaScript checked them. What exceeds this machine's sizes saturates.
            *dim = given as usize;
        }
        Ok(Some(Slot { element, place, shape: Shape::new(name, &dims[..given.len()])? }))
    }
}

/// The arrays of a call that do not lie in its memory.
#[derive(Clone, Copy)]
pub struct Outside<'a> {
    /// Inputs.
    pub arrays: &'a [Array<'a>],
    /// Makes room for results.
    pub results: &'a dyn Results,
}

/// One call. Its inputs and results are taken in the order of the signature.
pub(crate) struct Call<'a> {
    pub context: Context<'a>,
    /// True if a layer trains.
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
    /// The call that lies in `memory`; `objects` are those that its header names. `context` has the level and the observer;
    /// threads and partition come from the header.
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

    /// The options, of which this operation does not take those in `without`.
    pub fn options<T: Deserialize<'a> + Default>(&self, without: &'a [&'a str]) -> Result<T> {
        self.options_with(without, "").map(|(options, _)| options)
    }

    /// The same, and whether the option `name` is given.
    pub fn options_with<T: Deserialize<'a> + Default>(&self, without: &'a [&'a str], name: &str) -> Result<(T, bool)> {
        let Operation { inputs, takes_out, .. } = *self.operation;
        read_with(self.json, Names { inputs, takes_out, without }, name)
    }

    /// The object at `index` of the call's, which has to be of this type.
    pub fn object<T: Object>(&self, index: usize) -> Result<&'a T> {
        let object = self.objects.get(index).map(|object| &**object as &dyn Any);
        object
            .and_then(|object| object.downcast_ref())
            .ok_or_else(|| Error::new(Code::Internal, "object", std::any::type_name::<T>(), "another"))
    }

    /// The next input, or the absence of one.
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

    /// The shape of the next input, whose elements may be elsewhere.
    pub fn shape(&mut self) -> Result<Option<Shape>> {
        let input = self.operation.inputs.get(self.next_input).ok_or_else(cut_short)?;
        self.next_input += 1;
        Ok(self.slots.next(input.name)?.map(|slot| slot.shape))
    }

    /// The next input, a tensor of floats.
    pub fn tensor(&mut self) -> Result<Tensor<'a>> {
        self.optional_tensor()?.ok_or_else(cut_short)
    }

    /// The next input, a tensor of floats, or the absence of one.
    pub fn optional_tensor(&mut self) -> Result<Option<Tensor<'a>>> {
        let given = self.input()?.and_then(|given| Some((given.array.f32()?, given)));
        given.map(|(data, given)| Tensor::new(given.name, data, given.shape.dims())).transpose()
    }

    /// The next input, floats without a shape of their own, or their absence.
    pub fn floats(&mut self) -> Result<Option<&'a [f32]>> {
        Ok(self.input()?.and_then(|given| given.array.f32()))
    }

    /// The next input, integers, or their absence.
    pub fn integers(&mut self) -> Result<Option<&'a [i32]>> {
        Ok(self.input()?.and_then(|given| given.array.i32()))
    }

    /// The inputs mask, queryOffset and kvLengths.
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
        Ok(Arrays { mask, query_offset: self.integers()?, kv_lengths: self.integers()? })
    }

    /// Zeros for the next result, a tensor of floats; the caller's memory if it is the first result and there is any.
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

    /// The same with the shape of an input, but for its last dimension.
    pub fn output_like(&mut self, shape: Shape, last: usize) -> Result<&'a mut [f32]> {
        let mut dims = [0; MAX_RANK];
        let dims = &mut dims[..shape.rank()];
        dims.copy_from_slice(shape.dims());
        if let Some(dim) = dims.last_mut() {
            *dim = last;
        }
        self.output(dims)
    }

    /// The same as [`Self::output`] if the result is asked for; otherwise the result is absent.
    pub fn output_if(&mut self, is_asked: bool, shape: &[usize]) -> Result<Option<&'a mut [f32]>> {
        if !is_asked {
            return self.absent().map(|()| None);
        }
        self.output(shape).map(Some)
    }

    /// Zeros for the next result, integers.
    pub fn integer_output(&mut self, shape: &[usize]) -> Result<&'a mut [i32]> {
        self.result(Element::I32, shape)?.i32().ok_or_else(cut_short)
    }

    /// Zeros for the next result.
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

    /// The elements of the next result.
    fn count(&self, shape: &[usize]) -> Result<usize> {
        // A zero dimension makes it empty, however large the others are.
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

    /// Leaves the next result out.
    pub fn absent(&mut self) -> Result<()> {
        self.results.count += 1;
        self.results.push_number(0.0)
    }

    /// Returns an object, which is this thread's from now on.
    pub fn keep(&mut self, object: Arc<dyn Object>) -> Result<()> {
        self.results.push_number(OBJECT)?;
        self.results.push_number(f64::from(object::keep(object)))
    }
}

/// An input of a call.
pub(crate) struct Given<'a> {
    pub name: &'static str,
    pub array: Array<'a>,
    pub shape: Shape,
}

/// The results of a call, as they are described to the other side.
struct Described<'a> {
    rest: &'a mut [f64],
    /// Results so far, and those of them outside of the call's memory.
    count: usize,
    outside: usize,
}

impl<'a> Described<'a> {
    fn new(rest: &'a mut [f64]) -> Self {
        rest.fill(END);
        Self { rest, count: 0, outside: 0 }
    }

    /// The place of the next result outside of the call's memory.
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

    /// Element type, place, rank and dimensions of a result.
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
