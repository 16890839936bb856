//! An object of named tensors, such as the states of an optimizer. Unlike a layer's, its entries are not fixed: loading
//! replaces all of them.

use std::sync::Arc;

use ruvector_attention::Result;
use ruvector_attention::layers::{Entry, LoadOptions, StoredEntry};
use ruvector_attention::tensor::try_zeroed;

use crate::call::Call;
use crate::object::Object;

/// Named tensors of 32-bit floats, in the order in which they were added.
#[derive(Default)]
pub(crate) struct Tensors(Vec<NamedTensor>);

/// A tensor and its name.
pub(crate) struct NamedTensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub data: Vec<f32>,
}

impl NamedTensor {
    /// Creates a tensor of zeros.
    ///
    /// # Errors
    /// `MEMORY`.
    pub(crate) fn zeroed(name: String, shape: &[usize]) -> Result<Self> {
        let data = try_zeroed(&name, shape.iter().product())?;
        Ok(Self { name, shape: shape.to_vec(), data })
    }

    fn entry(&self) -> Entry<'_> {
        Entry { name: self.name.as_str().into(), shape: self.shape.clone(), data: &self.data }
    }
}

impl Tensors {
    /// Returns the index of a tensor.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|tensor| tensor.name == name)
    }

    /// Returns the elements of the tensor at `index`.
    pub(crate) fn data(&self, index: usize) -> &[f32] {
        &self.0[index].data
    }

    /// Returns the number of tensors.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Removes all tensors but the first `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// Adds a tensor of another name.
    pub(crate) fn push(&mut self, tensor: NamedTensor) {
        self.0.push(tensor);
    }
}

impl Object for Tensors {
    fn config(&self) -> Result<String> {
        Ok("{}".into())
    }

    fn stored(&self) -> Vec<StoredEntry<'_>> {
        self.0.iter().map(|tensor| StoredEntry::from(&tensor.entry())).collect()
    }

    fn floats_mut(&mut self) -> Vec<Option<&mut [f32]>> {
        self.0.iter_mut().map(|tensor| Some(&mut *tensor.data)).collect()
    }

    fn with_entries(&self, entries: &[Entry<'_>], _options: LoadOptions<'_>) -> Result<Arc<dyn Object>> {
        let mut copied = Vec::with_capacity(entries.len());
        for entry in entries {
            let mut tensor = NamedTensor::zeroed(entry.name.clone().into_owned(), &entry.shape)?;
            tensor.data.copy_from_slice(entry.data);
            copied.push(tensor);
        }
        Ok(Arc::new(Self(copied)))
    }
}

/// Runs the operation that creates an object without tensors.
pub(crate) fn create(call: &mut Call<'_>) -> Result<()> {
    call.keep(Arc::new(Tensors::default()))
}
