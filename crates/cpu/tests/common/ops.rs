//! Which kind of test each op needs.

use kiln_graph::Op;

/// Lists the ops of one kind after another; the match without a wildcard makes a new op fail to compile until it is in
/// one of the lists, and with that in need of a test.
macro_rules! op_lists {
    ($($(#[$doc:meta])* $list:ident: [$($name:ident),* $(,)?])*) => {
        $($(#[$doc])* pub const $list: &[&str] = &[$(stringify!($name)),*];)*

        /// The list that an op is in.
        pub fn list_of(op: &Op) -> &'static [&'static str] {
            match op {
                $($(Op::$name(_) => $list,)*)*
            }
        }
    };
}

op_lists! {
    /// Ops with a derivative, ops that are one, and leaves: gradient checks must meet all of them.
    GRADIENT_CHECKED: [
        InputValue, Constant, Reshape, SliceLast, PadLast, Concat, ShiftTime, CausalMean, Expand,
        Dropout, BranchScores, BranchScoresGrad, Sinkhorn, SinkhornGrad, BranchMix, BranchMixGrad,
        Add, Sub, Mul, Scale, ScaleByScalar, DotAt, Sum, Blend, BlendGrad,
        Sigmoid, SigmoidGrad, Tanh, TanhGrad, ReluSquared, ReluSquaredGrad, SwiGlu, SwiGluGrad,
        GatedAdd, GatedAddGrad, Linear, LinearGradInput, LinearGradWeight, Embed, EmbedGrad,
        RmsNorm, RmsNormGrad, RopeTable, Rope, RopeNorm, RopeNormGrad, Attention, AttentionGrad,
        LinearCrossEntropy, LinearCrossEntropyGrad,
        SparseAttention, SparseAttentionGrad, IndexerScores, IndexerScoresGrad,
    ]
    /// Ops of inference and of optimizers, which have no derivative: forward tests must meet all of them.
    FORWARD_TESTED: [
        VariableValue, ZeroPositions, SliceLeading, Cast, Accumulate, Logits,
        CacheWrite, AttentionCached, SparseAttentionCached, ShiftTimeCached, CausalMeanCached, SelectTime,
        NextIds,
        AdamWStep, MuonMomentum, MuonOrthogonalize, MuonNormalize, CautiousDecayStep,
    ]
}
