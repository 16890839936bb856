//! Tiles with any number of keys against the oracle.

use proptest::prelude::*;
use ruvector_attention::options::AttentionOptions;

use crate::support::case;

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tiles_of_any_size_match_the_oracle(
        case in case(),
        block_size in prop_oneof![1usize..=20, prop::sample::select(vec![31usize, 64, 100, 128, 257, 1000, 5000, usize::MAX])],
    ) {
        let mut problem = case.problem();
        problem.case.options = AttentionOptions { block_size: Some(block_size), ..case.options };
        problem.check();
    }
}
