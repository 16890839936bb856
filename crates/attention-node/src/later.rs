//! Calls that run on a thread of the runtime's pool, while JavaScript goes on.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI32, Ordering};

use napi::bindgen_prelude::{AsyncTask, Float32Array, Int32Array, Result, Task, Uint8Array};
use napi_derive::napi;
use ruvector_attention::context::Observer;
use ruvector_attention_calls::{Pending, Slots};

use crate::thrown;

/// What a whole is in the control's second number.
const WHOLE: f32 = 1e6;

/// A call with the arrays that it holds on to. lib/ made all of them for this call alone: inputs are copies, and nobody else
/// reads the results before it has ended.
pub struct Later {
    call: Pending,
    inputs: Vec<Option<Float32Array>>,
    bytes: Option<Uint8Array>,
    integers: Vec<Option<Int32Array>>,
    outputs: Vec<Option<Float32Array>>,
    indices: Option<Int32Array>,
    control: Int32Array,
}

/// Two numbers that JavaScript shares with the call: whether it is to stop, and how many millionths are done.
struct Control<'a>(&'a [AtomicI32]);

impl Observer for Control<'_> {
    fn is_cancelled(&self) -> bool {
        self.0[0].load(Ordering::Relaxed) != 0
    }

    fn progress(&self, fraction: f32) {
        // Threads may overtake each other here; what is shown never goes back.
        self.0[1].fetch_max((fraction * WHOLE) as i32, Ordering::Relaxed);
    }
}

impl Later {
    fn run(&mut self) -> Result<()> {
        // SAFETY: the array outlives the call, which holds on to it, and an AtomicI32 is laid out as an i32 is.
        let words = unsafe { &*(std::ptr::from_ref::<[i32]>(&self.control) as *const [AtomicI32]) };
        let mut outputs = self.outputs.iter_mut().map(|array| {
            // SAFETY: nobody else has the array before the call has ended.
            array.as_mut().map(|array| unsafe { array.as_mut() })
        });
        let slots = Slots {
            inputs: std::array::from_fn(|index| self.inputs.get(index)?.as_deref()),
            bytes: self.bytes.as_deref(),
            integers: std::array::from_fn(|index| self.integers.get(index)?.as_deref()),
            outputs: std::array::from_fn(|_| outputs.next().flatten()),
            // SAFETY: as for the outputs.
            indices: self.indices.as_mut().map(|array| unsafe { array.as_mut() }),
        };
        self.call.run(&Control(words), slots).map_err(thrown)
    }
}

impl Task for Later {
    type Output = ();
    type JsValue = ();

    fn compute(&mut self) -> Result<()> {
        // A panic that left this thread would end the process.
        catch_unwind(AssertUnwindSafe(|| self.run())).unwrap_or_else(|panic| Err(panicked(&*panic)))
    }

    fn resolve(&mut self, _: napi::Env, (): ()) -> Result<()> {
        Ok(())
    }
}

fn panicked(panic: &(dyn Any + Send)) -> napi::Error {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    napi::Error::from_reason(format!("panic: {}", text.unwrap_or("without a message")))
}

/// As `call`, on another thread; fails at once where the call cannot begin.
#[napi(catch_unwind)]
pub fn call_later(
    operation: u32,
    header: &[f64],
    options: Option<String>,
    inputs: Vec<Option<Float32Array>>,
    bytes: Option<Uint8Array>,
    integers: Vec<Option<Int32Array>>,
    outputs: Vec<Option<Float32Array>>,
    indices: Option<Int32Array>,
    control: Int32Array,
) -> Result<AsyncTask<Later>> {
    if control.len() < 2 {
        return Err(napi::Error::from_reason("control has two numbers"));
    }
    let call = Pending::new(operation, header, options).map_err(thrown)?;
    Ok(AsyncTask::new(Later { call, inputs, bytes, integers, outputs, indices, control }))
}
