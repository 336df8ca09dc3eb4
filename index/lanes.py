"""What the inner loops do to many numbers at once, spelled out in LLVM's vectors.

Left to itself the compiler multiplies bytes as 64-bit numbers and goes through a block twice, the second time with a
jump for every few columns: these two were half of the time that a large neighbour graph took. LLVM's vectors have no
fixed width; it cuts them to what the CPU has. (Compiled code is kept by the file that uses it: who changes something
here touches `kernels.py`.)
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
"""Columns looked at together: blocks of products are padded to a multiple of it."""

BYTES = 32
"""Bytes multiplied together."""

_I8, _I32, _F32 = ir.IntType(8), ir.IntType(32), ir.FloatType()


def _exceeding(typing_context: Any, products: Any, scale: Any, i: Any, start: Any, enough: Any) -> Any:

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        products_type, scale_type, *_ = signature.args
        row, column, least = (
            context.cast(builder, value, given, wanted)
            for value, given, wanted in zip(
                arguments[2:], signature.args[2:], (types.intp, types.intp, types.float32), strict=True
            )
        )
        singles = ir.VectorType(_F32, LANES)
        whole = isinstance(products_type.dtype, types.Integer)
        at = _pointer(context, builder, products_type, arguments[0], [row, column])
        value = _load(builder, at, ir.VectorType(_I32, LANES) if whole else singles, 4)
        value = builder.sitofp(value, singles) if whole else value
        worth = _load(builder, _pointer(context, builder, scale_type, arguments[1], [column]), singles, 4)
        first = builder.insert_element(ir.Constant(singles, ir.Undefined), least, _I32(0))
        everywhere = builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES))
        return builder.bitcast(builder.fcmp_ordered(">", builder.fmul(value, worth), everywhere), ir.IntType(LANES))

    return types.uint16(products, scale, i, start, enough), code


def _whole_product(typing_context: Any, codes: Any, i: Any, j: Any, end: Any) -> Any:

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        codes_type, *given = signature.args
        left, right, last = (
            context.cast(builder, value, kind, types.intp) for value, kind in zip(arguments[1:], given, strict=True)
        )
        none, step = context.get_constant(types.intp, 0), context.get_constant(types.intp, BYTES)
        rows = [_pointer(context, builder, codes_type, arguments[0], [row, none]) for row in (left, right)]
        sums = ir.VectorType(_I32, BYTES // 2)
        total = cgutils.alloca_once_value(builder, ir.Constant(sums, [0] * (BYTES // 2)))  # type: ignore[no-untyped-call]
        with cgutils.for_range_slice(builder, none, last, step, inc=True) as (axis, _):
            wide = [
                builder.sext(_load(builder, builder.gep(row, [axis]), ir.VectorType(_I8, BYTES), 1),
                             ir.VectorType(_I32, BYTES))
                for row in rows
            ]  # fmt: skip
            pairs = _halves(builder, builder.mul(*wide), range(0, BYTES, 2), range(1, BYTES, 2))
            builder.store(builder.add(builder.load(total), pairs), total)
        value, width = builder.load(total), BYTES // 2
        while width > 1:
            width //= 2
            value = _halves(builder, value, range(width), range(width, 2 * width))
        return builder.extract_element(value, _I32(0))

    return types.int32(codes, i, j, end), code


def _halves(builder: Any, value: Any, some: range, others: range) -> Any:
    """The sum of two halves of a vector."""
    kind = ir.VectorType(_I32, len(some))
    first, second = (builder.shuffle_vector(value, value, ir.Constant(kind, list(half))) for half in (some, others))
    return builder.add(first, second)


def _pointer(context: Any, builder: Any, kind: Any, array: Any, place: list[Any]) -> Any:
    return cgutils.get_item_pointer(context, builder, kind, context.make_array(kind)(context, builder, array), place)  # type: ignore[no-untyped-call]


def _load(builder: Any, pointer: Any, kind: Any, align: int) -> Any:
    value = builder.load(builder.bitcast(pointer, kind.as_pointer()))
    value.align = align
    return value


exceeding: Callable[..., int] = intrinsic(_exceeding)
"""exceeding(products, scale, i, start, enough), uint16: bit b is set where `products[i, start + b] * scale[start + b]`
is more than enough, for b below `LANES`; products are int32 or float32[q, w] in one piece, scale is float32[w]."""

whole_product: Callable[..., int] = intrinsic(_whole_product)
"""whole_product(codes, i, j, end), int32: the inner product of `codes[i, :end]` and `codes[j, :end]`; codes are
int8[n, dim] in one piece, and end is a multiple of `BYTES`."""
