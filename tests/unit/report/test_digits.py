"""Numbers as text: the error says how many digits mean something."""

import math

import pytest

from mlpf_stream.report.digits import duration, measured, percent, rounded, significant


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        # The examples of the Review of Particle Physics, section 5.3.
        (0.827, 0.119, ("0.83", "0.12")),
        (0.827, 0.367, ("0.8", "0.4")),
        (0.9884, 0.00355, ("0.988", "0.004")),
        (0.9884, 0.00354, ("0.9884", "0.0035")),
        (0.5, 0.0962, ("0.50", "0.10")),
        (123.4, 38.2, ("123", "38")),
        # No more than four decimals, but never an error that looks like none.
        (0.999296, 0.0000986, ("0.9993", "0.0001")),
        (0.999296, 0.0000021, ("0.9992960", "0.0000021")),
        (0.9876, None, ("0.988", "")),
        (0.9876, 0.0, ("0.988", "")),
        (0.9876, math.nan, ("0.988", "")),
        (None, 0.1, ("-", "")),
    ],
)
def test_errors_decide_on_digits(value, error, expected):
    assert rounded(value, error, 3) == expected


def test_numbers_read_well():
    assert measured(5.86, 0.25, 2) == "5.86 \xb1 0.25"
    assert [significant(value) for value in (0.000871, 97.62, 17_341.2, 0, None)] == [
        *("0.000871", "97.6", "17,300", "0", "-"),
    ]
    assert [duration(value) for value in (0.0564, 59.9, 113.2, 7503)] == [
        *("56.4 ms", "59.9 s", "1 min 53 s", "2 h 05 min"),
    ]
    assert [percent(value) for value in (0.1254, math.inf, None)] == ["12.5%", "-", "-"]
