//! Tiles of any number of keys against the oracle.

use proptest::prelude::*;
use ruvector_attention::options::AttentionOptions;

use crate::support::case;

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tiles_of_any_size_give_what_the_oracle_gives(
        case in case(),
        block_size in prop_oneof![1usize..=20, prop::sample::select(vec![31usize, 64, 100, 128, 257, 1000, 5000, usize::MAX])],
    ) {
        let mut problem = case.problem();
        problem.case.options = AttentionOptions { block_size: Some(block_size), ..case.options };
        problem.check();
    }
}

#[test]
fn flash_attention_refuses_the_weights() {
    let parse = |json| AttentionOptions::parse_for_flash(Some(json)).map_err(|error| error.argument.clone());
    assert_eq!(parse(r#"{"blockSize":7}"#).unwrap().block_size, Some(7));
    assert_eq!(parse(r#"{"weights":false,"topWeights":2}"#).unwrap().top_weights, Some(2));
    assert_eq!(parse(r#"{"weights":true}"#), Err("weights".into()));
    assert_eq!(parse(r#"{"stage":"scores"}"#), Err("stage".into()));
    assert_eq!(parse(r#"{"blockSize":0}"#), Err("blockSize".into()));
    assert!(AttentionOptions::parse(Some(r#"{"blockSize":7}"#)).is_err());
    assert!(AttentionOptions::parse_for_weights(Some(r#"{"blockSize":7}"#)).is_err());
}
