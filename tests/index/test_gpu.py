"""Lists by matrix products against brute force; all of it on torch's CPU device too, but for what is marked `gpu`."""

import numpy as np
import pytest
import torch

from coterie.detection.families import find_families
from coterie.domain import CancelledRunError, NeighbourGraph
from coterie.index import gpu, graph_recall, neighbour_graph
from coterie.index import graph as graph_module

CPU = torch.device("cpu")


def ignore(share):
    assert 0 <= share <= 1


def oracle(vectors, k):
    """Every pair in float64, without self; nearest first, equal ones by row."""
    n = len(vectors)
    similarities = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    np.fill_diagonal(similarities, -np.inf)
    order = np.lexsort((np.broadcast_to(np.arange(n), (n, n)), -similarities))[:, : min(k, n - 1)]
    rows, likeness = np.full((n, k), -1), np.full((n, k), -1.0)
    rows[:, : order.shape[1]] = order
    likeness[:, : order.shape[1]] = np.take_along_axis(similarities, order, 1)
    return rows, likeness


def check(vectors, k, device=CPU):
    """The true similarities at every place, and rows that have them."""
    rows, likeness = gpu.exact_lists(vectors, k, device, ignore)
    true_rows, true = oracle(vectors, k)
    assert rows.shape == likeness.shape == (len(vectors), k)
    assert (rows.dtype, likeness.dtype) == (np.int64, np.float32)
    np.testing.assert_allclose(likeness, true, atol=1e-6)
    np.testing.assert_array_equal(rows < 0, true_rows < 0)
    assert not (rows == np.arange(len(vectors))[:, None]).any()
    held = [row[row >= 0] for row in rows]
    assert all(len(set(row.tolist())) == len(row) for row in held)
    stated = (vectors[:, None, :] * vectors[np.maximum(rows, 0)]).sum(axis=2)
    np.testing.assert_allclose(likeness[rows >= 0], stated[rows >= 0], atol=1e-6)
    return rows, true_rows


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of a few queries and chunks of two groups, so that small input has many of both."""
    monkeypatch.setattr(gpu, "_COLUMNS_MAX", 128)
    monkeypatch.setattr(gpu, "_QUERIES_MAX", 37)


@pytest.fixture
def searched_again(monkeypatch):
    """How many queries each product had, by its number format."""
    queries = {torch.float16: 0, torch.float32: 0}
    candidates = gpu._candidates

    def counted(base, matrix, own, keep):
        queries[matrix.dtype] += len(own)
        return candidates(base, matrix, own, keep)

    monkeypatch.setattr(gpu, "_candidates", counted)
    return queries


@pytest.mark.parametrize("n", [0, 1, 2, 3, 8, 9, 63, 64, 65, 127, 128, 129, 400])
@pytest.mark.parametrize("centres", [0, 6])
def test_lists_equal_the_oracles(unit, n, centres):
    check(unit(n, 24, centres=centres), 8)


@pytest.mark.parametrize("n", [36, 37, 38, 74, 127, 128, 129, 192, 255, 256, 257, 500])
def test_edges_of_blocks_and_chunks_change_nothing(unit, small_blocks, n):
    rows, true_rows = check(unit(n, 24, centres=5), 8)
    assert (rows == true_rows).mean() > 0.99


def test_blocks_give_bit_for_bit_what_one_block_gives(unit, monkeypatch):
    vectors = unit(700, 48, centres=10)
    whole = gpu.exact_lists(vectors, 12, CPU, ignore)
    monkeypatch.setattr(gpu, "_COLUMNS_MAX", 192)
    monkeypatch.setattr(gpu, "_WORK_BYTES_CPU", 40 * gpu._bytes_per_query(700, 48, 12 + gpu.MARGIN, torch.float16))
    blocks = gpu.exact_lists(vectors, 12, CPU, ignore)
    np.testing.assert_array_equal(blocks[0], whole[0])
    np.testing.assert_array_equal(blocks[1], whole[1])


@pytest.mark.parametrize("k", [1, 7, 40, 199, 300])
def test_any_k(unit, k):
    check(unit(200), k)


@pytest.mark.parametrize("kinds", [1, 3, 16])
def test_ties_go_by_row_on_the_last_place_too(small_blocks, kinds):
    # Axes: two rows are alike by 1 or exactly 0, so that every list ends in the middle of a tie longer than its margin.
    axes = np.random.default_rng(kinds).integers(0, kinds, 300)
    rows, true_rows = check(np.eye(16, dtype=np.float32)[axes], 10)
    np.testing.assert_array_equal(rows, true_rows)


def test_equal_rows_are_each_others_neighbours_by_row(unit, small_blocks):
    vectors = np.vstack([unit(40), unit(1, seed=5).repeat(150, axis=0), unit(40, seed=2)])
    rows, _ = check(vectors, 9)
    assert rows[40].tolist() == list(range(41, 50))
    assert rows[189].tolist() == list(range(40, 49))


def test_negative_similarities_are_found_and_padding_is_not():
    # The angle between any two is over a right one; what fills the last group has similarity 0 to all.
    n = 70
    vectors = np.eye(n, dtype=np.float64) - 1 / n
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows, true = gpu.exact_lists(vectors.astype(np.float32), 5, CPU, ignore)
    assert ((rows >= 0) & (rows < n)).all()
    assert (true < -0.01).all()


@pytest.mark.parametrize("centres", [0, 300])
def test_recall_on_random_and_clustered_vectors(unit, searched_again, centres):
    rows, true_rows = check(unit(3_000, 96, centres=centres), 30)
    held = np.mean([len(np.intersect1d(a, b)) for a, b in zip(rows, true_rows, strict=True)]) / 30
    assert held >= 0.9999
    assert searched_again[torch.float16] == 3_000
    assert searched_again[torch.float32] < 150


def crowded(unit):
    """One family so tight that float16 cannot tell its members apart."""
    near = unit(1, 64).repeat(500, axis=0) + 0.003 * unit(500, 64, seed=1)
    return (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)


def test_what_float16_cannot_tell_apart_is_searched_again(unit, small_blocks, searched_again):
    check(crowded(unit), 10)
    assert searched_again[torch.float32] == 500


def test_without_the_second_search_crowds_are_wrong(unit, monkeypatch):
    vectors = crowded(unit)
    monkeypatch.setattr(gpu, "_proved", lambda base, own, *_: torch.ones(len(own), dtype=torch.bool))
    _, likeness = gpu.exact_lists(vectors, 10, CPU, ignore)
    assert (likeness < oracle(vectors, 10)[1] - 1e-6).any(), "the tests of exactness would not notice"


def test_a_list_said_to_be_proved_is_right(unit, monkeypatch):
    # From loose to indistinguishable, with next to no margin: many lists are wrong, and the proof lets none pass.
    spread = np.geomspace(0.003, 0.3, 12).repeat(100)[:, None]
    vectors = unit(12, 16).repeat(100, axis=0) + spread * unit(1_200, 16, seed=1)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    monkeypatch.setattr(gpu, "MARGIN", 1)
    wrong = passed = 0
    true = oracle(vectors, 10)[1]
    proved = gpu._proved

    def judged(base, own, lists, likeness):
        nonlocal wrong, passed
        verdict = proved(base, own, lists, likeness)
        short = (likeness.numpy() < true[own.numpy()] - 1e-6).any(axis=1)
        assert not (verdict.numpy() & short).any()
        wrong, passed = wrong + int(short.sum()), passed + int(verdict.sum())
        return verdict

    monkeypatch.setattr(gpu, "_proved", judged)
    gpu.exact_lists(vectors, 10, CPU, ignore)
    assert wrong > 0
    assert passed > 0


def test_both_directions_of_a_pair_have_one_similarity(unit):
    rows, likeness = gpu.exact_lists(unit(300, 48), 299, CPU, ignore)
    full = np.zeros((300, 300), np.float32)
    full[np.arange(300)[:, None], rows] = likeness
    np.testing.assert_array_equal(full, full.T)


def test_progress_rises_and_what_the_ticker_raises_stops_it(unit, small_blocks):
    vectors = crowded(unit)
    shares: list[float] = []
    gpu.exact_lists(vectors, 5, CPU, shares.append)
    assert shares == sorted(shares)
    assert len(shares) > 20
    assert 0 <= shares[0] < shares[-1] <= 1

    def stop(share):
        if share > 0.3:
            raise CancelledRunError("enough")

    with pytest.raises(CancelledRunError):
        gpu.exact_lists(vectors, 5, CPU, stop)
    check(vectors[:50], 5)


def test_read_only_and_strided_vectors_are_taken(unit):
    vectors = unit(100)
    wide = np.zeros((100, 32), np.float32)
    wide[:, ::2] = vectors
    expected = gpu.exact_lists(vectors, 3, CPU, ignore)[0]
    vectors.setflags(write=False)
    np.testing.assert_array_equal(gpu.exact_lists(wide[:, ::2], 3, CPU, ignore)[0], expected)
    np.testing.assert_array_equal(gpu.exact_lists(vectors, 3, CPU, ignore)[0], expected)


def test_a_million_fits_into_16_gb_and_ten_million_do_not(monkeypatch):
    free = {"bytes": 15 << 30}
    monkeypatch.setattr(gpu, "_free_bytes", lambda device: free["bytes"])
    device = torch.device("cuda", 0)
    assert gpu.fits(device, 1_000_000, 384, 40)
    assert not gpu.fits(device, 10_000_000, 384, 40)
    free["bytes"] = 70 << 30
    assert gpu.fits(device, 10_000_000, 384, 40)
    assert gpu._work_bytes(device) == gpu._WORK_BYTES_MAX


@pytest.mark.parametrize("n", [1, 64, 100_000, 1_000_000, 10_000_000])
@pytest.mark.parametrize("work_bytes", [1, 600 << 20, 8 << 30])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_blocks_keep_to_the_memory_and_to_32_bit_offsets(n, work_bytes, dtype):
    size = gpu._block_size(n, 384, 46, work_bytes, dtype)
    assert size == 1 or size * gpu._bytes_per_query(n, 384, 46, dtype) <= work_bytes
    assert 1 <= size * min(n, gpu._COLUMNS_MAX) < 2**31
    if work_bytes > 1:
        assert size >= gpu._QUERIES_MIN // 2, "a product of next to no queries reads more than it computes"


@pytest.fixture
def torch_cpu_as_gpu(monkeypatch):
    monkeypatch.setattr(graph_module, "gpu_device", lambda: CPU)


def test_the_graph_is_made_on_the_device_that_is_there(unit, torch_cpu_as_gpu, searched_again):
    vectors = np.vstack([unit(300, 32, centres=5), unit(1, 32, seed=9).repeat(20, axis=0)])
    graph = neighbour_graph(vectors, 12)
    assert searched_again[torch.float16] == 301, "distinct rows alone are searched"
    assert graph_recall(graph, vectors) == 1.0
    np.testing.assert_allclose(graph.similarities, oracle(vectors, 12)[1], atol=2e-6)


def test_the_graph_of_a_full_device_is_made_without_it(unit, torch_cpu_as_gpu, monkeypatch, searched_again):
    vectors = unit(300)
    expected = neighbour_graph(vectors, 5)
    assert searched_again.pop(torch.float16) == 300
    monkeypatch.setattr(graph_module, "fits", lambda *_: False)
    np.testing.assert_array_equal(neighbour_graph(vectors, 5).neighbours, expected.neighbours)
    monkeypatch.setattr(graph_module, "fits", lambda *_: True)

    def full(*_):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(graph_module, "exact_lists", full)
    np.testing.assert_array_equal(neighbour_graph(vectors, 5).neighbours, expected.neighbours)


@pytest.fixture
def cuda():
    device = gpu.gpu_device()
    if device is None:
        pytest.skip("torch sees no GPU")
    return device


@pytest.mark.gpu
@pytest.mark.parametrize("n", [2, 65, 3_000])
def test_lists_on_a_gpu_equal_the_oracles(unit, cuda, n):
    check(unit(n, 96, centres=30), 20, cuda)
    check(crowded(unit), 10, cuda)
    check(np.eye(16, dtype=np.float32)[np.arange(300) % 16], 10, cuda)


@pytest.mark.gpu
def test_a_gpu_stays_within_its_memory_and_leaves_settings_alone(unit, cuda):
    settings = torch.backends.cuda.matmul
    before = settings.fp32_precision, settings.allow_fp16_reduced_precision_reduction
    vectors = unit(100_000, 384)
    torch.cuda.reset_peak_memory_stats(cuda)
    held = torch.cuda.memory_allocated(cuda)
    limit = held + gpu._vector_bytes(*vectors.shape) + gpu._work_bytes(cuda)
    gpu.exact_lists(vectors, 30, cuda, ignore)
    assert torch.cuda.max_memory_allocated(cuda) <= limit
    assert torch.cuda.memory_allocated(cuda) == held
    assert (settings.fp32_precision, settings.allow_fp16_reduced_precision_reduction) == before


def check_families(vectors, monkeypatch):
    """The labels are those of the exact graph; the CPU's own search, in eight bits, is next to exact."""
    rows, likeness = oracle(vectors, 30)
    exact = NeighbourGraph(rows.astype(np.int32), likeness.astype(np.float32))
    on_device = neighbour_graph(vectors, 30)
    monkeypatch.setattr(graph_module, "gpu_device", lambda: None)
    on_cpu = neighbour_graph(vectors, 30)
    np.testing.assert_allclose(on_device.similarities, likeness, atol=1e-6)
    assert (on_device.neighbours == rows).mean() > 0.999, "but for rows that float32 cannot tell apart"
    once = np.ones(len(vectors), np.int64)
    device, true, cpu = (
        find_families(graph, once, min_samples=5, min_cluster_size=10).label for graph in (on_device, exact, on_cpu)
    )
    assert true.max() > 5
    np.testing.assert_array_equal(device, true)
    assert (device == cpu).mean() > 0.99


def test_families_are_those_of_the_exact_graph(unit, torch_cpu_as_gpu, monkeypatch, searched_again):
    check_families(unit(1_500, 64, centres=20), monkeypatch)
    assert searched_again[torch.float16] == 1_500


@pytest.mark.gpu
def test_families_on_a_gpu_are_those_of_the_exact_graph(unit, cuda, monkeypatch):
    check_families(unit(3_000, 64, centres=40), monkeypatch)
