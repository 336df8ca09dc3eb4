"""What can be turned, and what it means. Nulls were fixed on innocent traffic; rates weigh misses and false alarms."""

from dataclasses import asdict, dataclass, replace

from coterie.domain import ParameterSet


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters of a run.

    Attributes:
        min_samples: exchanges that make a place in a view dense; more is more precise.
        min_cluster_size: exchanges that make a family.
        link_rate: false discovery rate of account links.
        ratio_floor: highest C/W an innocent pool is taken to reach: the null of the exchangeability test.
        mixing_ceiling: least neighbour mixing an innocent pool is taken to have: the null of that test.
        share_spread_min: least spread of the logarithm of their shares innocent accounts are taken to have.
        content_rate: p-value of a pool's content above which it is ordinary, however equal the shares.
        promising_rate: p-value up to which a pool is grown, to see whether there is more of it.
        finding_rate: false discovery rate over the groups of pools of a run.
        null_share: share of all groups of pools whose p-values are as their nulls say, among innocents; the others have
            none. Upper 95 % limit over windows without a campaign and the innocents of windows with some.
        silence_rate: chance with which a window without a campaign may have a finding at all.
        across_min: least mean similarity across accounts, above the window's mean, that makes a pool one subject
            matter rather than the general public.
        repeats_max: largest share of a pool's texts that several of its principals sent; dealt slices do not repeat,
            crowds that draw from a common bank do.
        rewrapped_max: likewise for the same question in another wrapping, where such pairs are found across
            principals and not within them at this significance, `rewrapped_rate`.
        common_max: largest share of everything that a pool's accounts send, in it or not, that several of them sent, in
            the same words or in other wrappings (labs that all run one benchmark: more than half).
        own_words_rate: p-value of "who asked has nothing to do with the words" below which the accounts of a pool have
            words of their own: of slices dealt at random so many at most.
        own_words_excess: by how much their words must also be more alike within accounts than across (cosine): in a
            large pool a little ordinary traffic among its queries reaches any p-value.
        tongue_max: share of a pool's similarity that may be its languages', for its content to be evidence.
        principals_min: principals that make a campaign.
        texts_min: distinct texts that are worth the name of a harvest.
        run_items_min: distinct benchmark items one account asks in a benchmark run.
        run_coverage_min: share of a benchmark that one account covers in a benchmark run.
        seed: of everything that is drawn.
    """

    min_samples: int = 5
    min_cluster_size: int = 10
    link_rate: float = 0.01
    ratio_floor: float = 0.85
    mixing_ceiling: float = 1.3
    share_spread_min: float = 0.45
    content_rate: float = 0.1
    promising_rate: float = 0.1
    finding_rate: float = 0.03
    null_share: float = 0.25
    silence_rate: float = 0.05
    across_min: float = 0.045
    repeats_max: float = 0.05
    rewrapped_max: float = 0.1
    rewrapped_rate: float = 0.01
    common_max: float = 0.3
    own_words_rate: float = 0.02
    own_words_excess: float = 0.01
    tongue_max: float = 0.5
    principals_min: int = 3
    texts_min: int = 20
    run_items_min: int = 50
    run_coverage_min: float = 0.25
    seed: int = 0

    def turned(self, by: ParameterSet) -> "Parameters":
        """The same with what a run's caller set; 0 leaves a parameter as it is."""
        return replace(
            self,
            min_samples=by.min_samples or self.min_samples,
            min_cluster_size=by.min_cluster_size or self.min_cluster_size,
        )

    def as_dict(self) -> dict[str, float]:
        """The parameters by name, for the record of a run."""
        return {name: float(value) for name, value in asdict(self).items()}
