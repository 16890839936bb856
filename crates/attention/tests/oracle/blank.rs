//! Layers of zeros, which a state dict is about to fill.

use ruvector_attention::attention::Arrays;
use ruvector_attention::layers::decoder::{DecoderConfig, DecoderLayer};
use ruvector_attention::layers::encoder::{EncoderConfig, TransformerEncoderLayer};
use ruvector_attention::layers::transformer_decoder::{TransformerDecoderConfig, TransformerDecoderLayer};
use ruvector_attention::layers::{StoredEntry, TypedEntry};
use ruvector_attention::math::weight::{Quantized, WeightType, Weights};
use ruvector_attention::options::LayerOptions;
use ruvector_attention::{Context, Tensor};

use WeightType::{Bf16, F16, F32, Q8};

/// The name, shape, type and elements of each entry.
fn shown(entries: &[StoredEntry<'_>]) -> Vec<String> {
    let mut shown = Vec::new();
    for entry in entries {
        let show = &mut |weights: Weights<'_>| {
            shown.push(format!("{} {:?} {weights:?}", entry.name, entry.shape));
            Ok(())
        };
        entry.visit(show).unwrap();
    }
    shown
}

/// The names, shapes and types.
fn described<'a>(entries: &'a [StoredEntry<'_>]) -> Vec<(&'a str, &'a [usize], WeightType)> {
    entries.iter().map(|entry| (&*entry.name, &*entry.shape, entry.weight_type())).collect()
}

fn is_zero(entry: &StoredEntry<'_>) -> bool {
    let mut zero = true;
    let check = &mut |weights: Weights<'_>| {
        zero &= match weights {
            Weights::F32(data) => data.iter().all(|&value| value == 0.0),
            Weights::F16(bits) | Weights::Bf16(bits) => bits.iter().all(|&bits| bits == 0),
            Weights::Q8(Quantized { values, scales }) => {
                values.iter().all(|&value| value == 0) && scales.iter().all(|&bits| bits == 0)
            }
        };
        Ok(())
    };
    entry.visit(check).unwrap();
    zero
}

/// Compares a layer of zeros with a drawn one, before and after both load the same state dict.
macro_rules! check {
    ($layer:ident, $config:expr, $entries:expr) => {
        for weight_type in [F32, F16, Bf16, Q8] {
            let config = |weight_type| {
                let mut config = $config;
                config.weight_type = weight_type;
                config
            };
            let entries: fn(&$layer) -> Vec<StoredEntry<'_>> = $entries;
            let (drawn, zeroed) =
                ($layer::new(config(weight_type)).unwrap(), $layer::zeroed(config(weight_type)).unwrap());
            assert_eq!(described(&entries(&zeroed)), described(&entries(&drawn)));
            assert!(entries(&zeroed).iter().all(is_zero));
            let source = $layer::new(config(F32)).unwrap();
            let state: Vec<TypedEntry<'_>> = entries(&source)
                .into_iter()
                .map(|entry| {
                    let data = Weights::F32(entry.floats().unwrap());
                    TypedEntry { name: entry.name, shape: entry.shape, data }
                })
                .collect();
            let [one, other] = [&zeroed, &drawn].map(|layer| layer.loaded(&state, "").unwrap());
            assert_eq!(shown(&entries(&one)), shown(&entries(&other)));
        }
    };
}

#[test]
fn a_layer_of_zeros_has_the_entries_of_a_drawn_one_and_loads_as_it_does() {
    let (model_dim, num_heads, feed_forward_dim) = (40, 4, 24);
    check!(
        TransformerEncoderLayer,
        EncoderConfig { model_dim, num_heads, feed_forward_dim, ..EncoderConfig::default() },
        |layer| layer.state().entries()
    );
    check!(
        DecoderLayer,
        DecoderConfig { model_dim, num_heads, feed_forward_dim, ..DecoderConfig::default() },
        DecoderLayer::entries
    );
    check!(
        TransformerDecoderLayer,
        TransformerDecoderConfig { model_dim, num_heads, feed_forward_dim, ..TransformerDecoderConfig::default() },
        TransformerDecoderLayer::entries
    );
}

#[test]
fn a_layer_of_zeros_computes_with_zeros() {
    let values = [0.5; 3 * 40];
    let x = Tensor::new("x", &values, &[1, 3, 40]).unwrap();
    for weight_type in [F32, F16, Bf16, Q8] {
        let config = EncoderConfig { model_dim: 40, num_heads: 4, weight_type, ..EncoderConfig::default() };
        let layer = TransformerEncoderLayer::zeroed(config).unwrap();
        let mut output = [7.0; 3 * 40];
        let (options, arrays) = (LayerOptions::default(), Arrays::default());
        layer.forward(Context::default(), x, &options, arrays, false, &mut output, None).unwrap();
        // The last norm multiplies by its weight.
        assert_eq!(output, [0.0; 3 * 40]);
    }
}
