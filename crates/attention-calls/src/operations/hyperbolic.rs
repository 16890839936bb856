//! Hyperbolic attention and geometry. The object of each call is the space.

use std::sync::Arc;

use ruvector_attention::Result;
use ruvector_attention::hyperbolic::functions::FunctionOptions;
use ruvector_attention::hyperbolic::{HyperbolicAttention, HyperbolicConfig, HyperbolicOptions};

use super::attention::ARRAY_OPTIONS;
use crate::call::Call;
use crate::object::Object;
use crate::options::{Names, read, write};

pub(super) fn make(config: Option<&str>) -> Result<Arc<dyn Object>> {
    let config: HyperbolicConfig = read(config, Names::default())?;
    Ok(Arc::new(HyperbolicAttention::new(config)?))
}

impl Object for HyperbolicAttention {
    fn config(&self) -> Result<String> {
        write(self.config())
    }
}

pub(super) fn forward(call: &mut Call<'_>) -> Result<()> {
    let inputs = [call.tensor("q")?, call.tensor("k")?, call.tensor("v")?];
    let options: HyperbolicOptions = read(call.options, Names { beside: ARRAY_OPTIONS, without: &[] })?;
    let arrays = call.arrays()?;
    let (output, weights) = (call.output(), call.optional_output(1));
    let space: &HyperbolicAttention = call.object(0)?;
    space.forward(call.context, inputs, &options, arrays, output, weights)
}

pub(super) fn function(call: &mut Call<'_>) -> Result<()> {
    let options: FunctionOptions = read(call.options, Names::default())?;
    let [first, second, third] = options.function.names();
    let arguments = [call.optional_tensor(first)?, call.optional_tensor(second)?, call.optional_tensor(third)?];
    let output = call.output();
    call.object::<HyperbolicAttention>(0)?.apply(call.context, &options, arguments, output)
}

pub(super) fn distances(call: &mut Call<'_>) -> Result<()> {
    let (a, b, output) = (call.tensor("a")?, call.tensor("b")?, call.output());
    call.object::<HyperbolicAttention>(0)?.distance_matrix(call.context, a, b, output)
}

pub(super) fn midpoint(call: &mut Call<'_>) -> Result<()> {
    let (points, weights, output) = (call.tensor("points")?, call.optional_tensor("weights")?, call.output());
    call.object::<HyperbolicAttention>(0)?.midpoint(call.context, points, weights, output)
}
