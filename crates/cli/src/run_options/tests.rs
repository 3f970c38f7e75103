//! How options lie over one another, what follows from them, and what is refused.

use kiln_model::ModelConfig;

use super::*;

#[test]
fn flags_lie_over_the_file() {
    let file: RunOptions =
        toml::from_str("depth = 6\nseed = 3\npreset = 'classic'\ndtype = 'bf16'").unwrap();
    let flags = RunOptions { depth: Some(2), ..RunOptions::default() };
    let run = flags.over(file).resolve(512).unwrap();
    assert_eq!((run.model.n_layer, run.train.seed, run.model.smear), (2, 3, false));
    assert_eq!(run.train.dtype, Compute::Bf16);
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "depth = 4\n\ndeptth = 5\n").unwrap();
    let message = RunOptions::from_file(file.path()).unwrap_err().to_string();
    assert!(message.contains(":3:") && message.contains("deptth"), "{message}");
}

#[test]
fn horizons_have_an_order() {
    let mut options = RunOptions { minutes: Some(1.0), ..RunOptions::default() };
    assert_eq!(options.horizon(), Horizon::Minutes(1.0));
    options.target_param_data_ratio = Some(4.0);
    assert_eq!(options.horizon(), Horizon::ParamDataRatio(4.0));
    options.target_flops = Some(1e12);
    assert_eq!(options.horizon(), Horizon::Flops(1e12));
    options.num_iterations = Some(7);
    assert_eq!(options.horizon(), Horizon::Iterations(7));
    assert_eq!(RunOptions::default().horizon(), Horizon::ParamDataRatio(8.0));
}

#[test]
fn sizes_that_no_machine_holds_are_refused() {
    for rows in [usize::MAX, 1 << 62, 1 << 24] {
        let options = RunOptions { device_batch_size: Some(rows), ..RunOptions::default() };
        let message = options.resolve(512).unwrap_err().to_string();
        assert!(message.contains("--device-batch-size"), "{message}");
    }
    let depth = RunOptions { depth: Some(1 << 40), ..RunOptions::default() };
    assert!(depth.resolve(512).unwrap_err().to_string().contains("--depth"));
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let batch = RunOptions { total_batch_size: Some(5000), ..RunOptions::default() };
    assert!(batch.resolve(512).unwrap_err().to_string().contains("5000"));
    let minutes = RunOptions { minutes: Some(-1.0), ..RunOptions::default() };
    assert!(minutes.resolve(512).unwrap_err().to_string().contains("--minutes"));
    let heads = RunOptions { n_head: Some(5), ..RunOptions::default() };
    assert!(heads.resolve(512).is_err());
}

#[test]
fn heads_follow_from_a_width_that_is_given() {
    let heads = |options: RunOptions| {
        let model = options.resolve(512).unwrap().model;
        (model.n_embd, model.n_head, model.n_kv_head)
    };
    let options = RunOptions { n_embd: Some(768), ..RunOptions::default() };
    assert_eq!(heads(options.clone()), (768, 6, 6));
    assert_eq!(heads(RunOptions { head_dim: Some(64), ..options.clone() }), (768, 12, 12));
    assert_eq!(heads(RunOptions { n_kv_head: Some(2), ..options.clone() }), (768, 6, 2));
    assert_eq!(heads(RunOptions { n_head: Some(4), ..options }), (768, 4, 4));
    assert_eq!(heads(RunOptions::default()), (256, 2, 2));
}

#[test]
fn a_narrow_model_may_do_without_the_gates_that_it_is_too_narrow_for() {
    let narrow = RunOptions { n_embd: Some(16), ..RunOptions::default() };
    assert!(narrow.resolve(512).unwrap_err().to_string().contains("width of at least 24"));
    let without = RunOptions { smear: Some(false), ..narrow };
    assert_eq!(without.resolve(512).unwrap().model.n_embd, 16);
}

#[test]
fn the_models_options_are_options_of_a_run() {
    let model = ModelOptions { depth: Some(3), smear: Some(false), ..ModelOptions::default() };
    let run = RunOptions::from(model).resolve(512).unwrap();
    assert_eq!((run.model.n_layer, run.model.smear), (3, false));
}

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    options: RunOptions,
}

fn parsed(flags: &str) -> RunOptions {
    let words = std::iter::once("kiln").chain(flags.split_whitespace());
    <Line as clap::Parser>::try_parse_from(words).unwrap().options
}

/// Four layers of width 256 in rows of 512 tokens, where nothing else is said.
fn model(flags: &str) -> ModelConfig {
    parsed(flags).model(None, 500).unwrap()
}

#[test]
fn every_flag_of_a_model_sets_its_field() {
    let plain = model("--preset modern");
    assert!(plain.engram.is_empty() && !plain.mhc && !plain.mtp && !plain.dsa);
    assert!(!plain.checkpoint_blocks);
    let flags = "--preset modern --engram --engram-layers -1,1 --engram-orders 2,5 --engram-bottleneck 24 --engram-dropout 0.25 \
                 --mhc --mhc-iters 3 --mhc-temperature 2 --mhc-epsilon 0.125 --mhc-alpha 0.5 --mtp --mtp-lambda 0.5 \
                 --dsa --dsa-start-layer 2 --dsa-ratio 0.25 --dsa-local 64 --dsa-indexer-heads 4 --dsa-indexer-dim 8 \
                 --checkpoint-blocks";
    let expected = ModelConfig {
        engram: "-1,1".into(),
        engram_orders: vec![2, 5],
        engram_bottleneck: 24,
        engram_dropout: 0.25,
        mhc: true,
        mhc_iters: 3,
        mhc_temperature: 2.0,
        mhc_epsilon: 0.125,
        mhc_alpha: 0.5,
        mtp: true,
        mtp_lambda: 0.5,
        dsa: true,
        dsa_start: 2,
        dsa_ratio: 0.25,
        dsa_local: 64,
        indexer_heads: 4,
        indexer_dim: 8,
        checkpoint_blocks: true,
        ..plain
    };
    assert_eq!(model(flags), expected);
}

#[test]
fn an_engram_is_on_the_first_and_the_last_layer_unless_layers_are_named() {
    let layers = |flags: &str| model(&format!("--preset modern --engram {flags}")).engram_layers();
    assert_eq!(layers("").unwrap(), [0, 3]);
    assert_eq!(layers("--depth 1").unwrap(), [0]);
    assert_eq!(layers("--engram-layers -1").unwrap(), [3]);
}

#[test]
fn a_preset_is_what_its_options_are() {
    assert_eq!(model(""), model("--preset engram"));
    assert_eq!(model(""), model("--preset modern --engram"));
    assert_eq!(model("--depth 1").engram_layers().unwrap(), [0]);
    assert_eq!(model("--engram false"), model("--preset modern"));
    assert_eq!(model("--engram-layers 1"), model("--preset modern --engram --engram-layers 1"));
    assert!(!model("--preset classic").smear && model("--preset classic").engram.is_empty());
    // Over another model, a preset adds its Engram where there is none.
    let base = model("--preset classic --engram --engram-layers 2");
    let over = |flags: &str| parsed(flags).model(Some(&base), 500).unwrap();
    assert_eq!(over(""), base);
    assert_eq!(over("--preset engram"), model("--engram-layers 2"));
}

#[test]
fn a_file_has_the_keys_of_the_flags() {
    let file: RunOptions = toml::from_str(
        "engram = true\nengram_layers = [0, -2]\nengram_orders = '2,3'\nmhc = true\nmhc_iters = 7\nmtp = true\n\
         dsa = true\ndsa_start_layer = 3\ndsa_ratio = 0.25\ncheckpoint_blocks = true\n",
    )
    .unwrap();
    let flags = "--engram --engram-layers 0,-2 --engram-orders 2,3 --mhc --mhc-iters 7 --mtp --dsa --dsa-start-layer 3 \
                 --dsa-ratio 0.25 --checkpoint-blocks";
    assert_eq!(file.resolve(500).unwrap().model, model(flags));
    let over = parsed("--engram-layers 1 --mtp false").over(file).resolve(500).unwrap().model;
    assert_eq!((over.engram.as_str(), over.mtp, over.mhc_iters), ("1", false, 7));
}

#[test]
fn sparse_attention_that_selects_nothing_is_told() {
    let told = |flags: &str| notice(&model(&format!("--dsa --dsa-start-layer 0 {flags}")));
    for dense in ["--seq-len 64", "--dsa-ratio 1", "--seq-len 288 --dsa-local 256"] {
        assert!(told(dense).is_some(), "{dense}");
    }
    let message = told("--seq-len 64").unwrap();
    for part in ["rows of 64 tokens", "--dsa-ratio 0.5", "--dsa-local 128", "64 keys"] {
        assert!(message.contains(part), "{part} is not in {message}");
    }
    // 128 of 161 tokens leave just more than 32 out.
    assert!(told("--seq-len 161").is_none() && told("--seq-len 160").is_some());
    assert!(told("").is_none() && notice(&model("")).is_none());
}
