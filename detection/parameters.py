"""What can be turned, and what it means. Decision thresholds were fixed on innocent traffic only."""

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
        ratio_ceiling: C/W whose lower limit is above this is an artefact: the pool was gathered by what is alike across
            accounts, and slices that were dealt are as alike within.
        finding_rate: false discovery rate of that test over all candidates of a run.
        across_min: least mean similarity across accounts, above the window's mean, that makes a pool one subject
            matter rather than the general public.
        across_region_min: likewise for pools found inside a region, whose texts are alike to begin with.
        repeats_max: largest share of a pool's texts that several of its principals sent; dealt slices do not repeat,
            crowds that draw from a common bank do.
        rewrapped_max: likewise for the same question in another wrapping, where such pairs are found across
            principals and not within them at this significance, `rewrapped_rate`.
        principals_min: principals that make a campaign.
        principals_region_min: likewise for pools found inside a region.
        label_z_max: z of the similarity within accounts among shufflings of the labels, above which who asked matters;
            not asked of pools whose C/W is at least `label_ratio_max`: among many queries any trifle is significant.
        texts_min: distinct texts that are worth the name of a harvest.
        run_items_min: distinct benchmark items one account asks in a benchmark run.
        run_coverage_min: share of a benchmark that one account covers in a benchmark run.
        seed: of everything that is drawn.
    """

    min_samples: int = 5
    min_cluster_size: int = 10
    link_rate: float = 0.01
    ratio_floor: float = 0.86
    ratio_ceiling: float = 1.1
    finding_rate: float = 0.05
    across_min: float = 0.045
    across_region_min: float = 0.2
    repeats_max: float = 0.03
    rewrapped_max: float = 0.1
    rewrapped_rate: float = 0.001
    principals_min: int = 3
    principals_region_min: int = 5
    label_z_max: float = 4.0
    label_ratio_max: float = 0.98
    texts_min: int = 40
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
