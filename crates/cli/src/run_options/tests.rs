//! How options lie over one another, what follows from them, and what is refused.

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
