//! Calls that run on a thread of the runtime's pool without blocking JavaScript.

use std::any::Any;
use std::mem::take;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI32, Ordering};

use napi::Task;
use napi::bindgen_prelude::{AsyncTask, Env, Int32Array, Result, Uint8Array, Unknown};
use napi_derive::napi;
use ruvector_attention::context::Observer;
use ruvector_attention_calls::{Array, CallMemory, Outside, Pending};

use crate::arrays::{self, Elsewhere, Raw, Reference};
use crate::thrown;

/// The unit of progress: millionths of the whole call.
const WHOLE: f32 = 1e6;

/// A call and the arrays that it keeps alive. lib/ created all of them for this call alone.
pub struct AsyncCall {
    call: Pending,
    inputs: Vec<Raw>,
    arrays: Option<Reference>,
    results: Elsewhere,
    memory: Uint8Array,
    control: Int32Array,
}

/// Two numbers shared with JavaScript: a cancellation flag, and progress in millionths.
struct Control<'a>(&'a [AtomicI32]);

impl Observer for Control<'_> {
    fn is_cancelled(&self) -> bool {
        self.0[0].load(Ordering::Relaxed) != 0
    }

    fn progress(&self, fraction: f32) {
        // Threads may report out of order; progress must never decrease.
        self.0[1].fetch_max((fraction * WHOLE) as i32, Ordering::Relaxed);
    }
}

impl AsyncCall {
    fn run(&mut self) -> Result<()> {
        // SAFETY: the call keeps the array alive, and an AtomicI32 has the layout of an i32.
        let words = unsafe { &*(std::ptr::from_ref::<[i32]>(&self.control) as *const [AtomicI32]) };
        // SAFETY: inputs are private copies, and are kept alive.
        let inputs: Vec<Array<'_>> = self.inputs.iter().map(|array| unsafe { array.borrow() }).collect();
        let outside = Outside { arrays: &inputs, results: &self.results };
        self.call.run(&Control(words), outside).map_err(thrown)
    }
}

impl Task for AsyncCall {
    type Output = ();
    type JsValue = Option<Unknown<'static>>;

    fn compute(&mut self) -> Result<()> {
        // A panic that escaped this thread would end the process.
        catch_unwind(AssertUnwindSafe(|| self.run())).unwrap_or_else(|panic| Err(panicked(&*panic)))
    }

    fn resolve(&mut self, env: Env, (): ()) -> Result<Self::JsValue> {
        // SAFETY: lib/ reads the memory only after the call has ended.
        let memory = unsafe { self.memory.as_mut() };
        memory.copy_from_slice(self.call.memory().as_bytes());
        take(&mut self.results).into_list(&env)
    }

    fn finally(self, env: Env) -> Result<()> {
        if let Some(arrays) = self.arrays {
            arrays.release(&env);
        }
        Ok(())
    }
}

fn panicked(panic: &(dyn Any + Send)) -> napi::Error {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    napi::Error::from_reason(format!("panic: {}", text.unwrap_or("without a message")))
}

/// Runs like `call`, but on another thread; fails immediately if the call is invalid.
#[napi(catch_unwind)]
pub fn call_later(
    env: Env,
    operation: u32,
    memory: Uint8Array,
    options: Option<String>,
    arrays: Option<Unknown>,
    control: Int32Array,
) -> Result<AsyncTask<AsyncCall>> {
    if control.len() < 2 || memory.len() != size_of::<CallMemory>() {
        return Err(napi::Error::from_reason("control has two numbers, and memory the size of a call's"));
    }
    let inputs = arrays.as_ref().map_or_else(|| Ok(Vec::new()), |arrays| arrays::of_list(&env, arrays))?;
    let call = Pending::new(operation, Box::new(CallMemory::from_bytes(&memory)), options).map_err(thrown)?;
    let reference = arrays.map(|arrays| Reference::new(&env, &arrays)).transpose()?;
    Ok(AsyncTask::new(AsyncCall { call, inputs, arrays: reference, results: Elsewhere::default(), memory, control }))
}
