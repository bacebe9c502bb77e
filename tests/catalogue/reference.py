"""
A slow matcher in plain Python, written from PS3.4 C.2.2.2 alone: what `search` is compared with.

It knows nothing of SQL, folded forms or indexes: entities are dicts by keyword, names are regular expressions, dates are dates.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date, datetime, timedelta

NUMBERS = {"SeriesNumber", "InstanceNumber", "Rows", "PatientWeight"}
DATES = {"StudyDate", "PatientBirthDate", "PerformedProcedureStepStartDate", "ContentDate"}
TIMES = {"StudyTime", "PerformedProcedureStepStartTime", "ContentTime"}
DATETIMES = {"AcquisitionDateTime"}
NAMES = {"PatientName", "ReferringPhysicianName", "PerformingPhysicianName", "OtherPatientNames"}
UIDS = {
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "SOPClassUID",
    "FrameOfReferenceUID",
    "SOPClassesInStudy",
}
PAIRS = {
    "StudyDate": "StudyTime",
    "PerformedProcedureStepStartDate": "PerformedProcedureStepStartTime",
    "ContentDate": "ContentTime",
}


def values(stored):
    """What an attribute holds, as a list without empty values."""
    listed = stored if isinstance(stored, list) else [stored]
    return [one for one in listed if one not in (None, "", {})]


def matches(keyword, key, stored) -> bool:
    """One key against one attribute."""
    if universal(key):
        return True
    asked = values(key)
    if isinstance(asked[0], dict):
        return any(
            all(matches(inner, asked[0][inner], item.get(inner)) for inner in asked[0]) for item in values(stored)
        )
    return any(one_matches(keyword, one, other) for one in asked for other in values(stored))


def universal(key) -> bool:
    """No value, nothing but asterisks, or an item in which every key is universal."""
    asked = values(key)
    if asked and isinstance(asked[0], dict):
        return all(universal(inner) for inner in asked[0].values())
    return not asked or any(isinstance(one, str) and one.strip("* =") == "" for one in asked)


def one_matches(keyword, key, stored) -> bool:
    """One value against one value."""
    if keyword in UIDS:
        return key == stored
    if keyword in NUMBERS or keyword.startswith("NumberOf"):
        return float(key) == float(stored)
    if keyword in NAMES:
        return name_matches(key, stored)
    if keyword in DATES:
        return in_range(key, stored, day)
    if keyword in TIMES:
        return in_range(key, stored, moment)
    if keyword in DATETIMES:
        return datetime_matches(key, stored)
    return re.fullmatch(pattern(key.strip(" ")), stored.strip(" "), re.DOTALL) is not None


def pattern(text, any_one=".", caret=None) -> str:
    """A wild card pattern as a regular expression."""
    special = {"*": ".*", "?": any_one, "^": caret or r"\^"}
    return "".join(special.get(character) or re.escape(character) for character in text)


def plain(text) -> str:
    """A component group without case and width."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def name_matches(key, stored) -> bool:
    """Component group by component group; a key with one group may be in any of the groups there are."""
    groups = key.split("=")
    if len(groups) == 1:
        return any(group_matches(key, group) for group in stored.split("=") if group)
    theirs = [*stored.split("="), "", ""]
    return all(group_matches(group, theirs[at]) for at, group in enumerate(groups) if group)


def group_matches(key, stored) -> bool:
    """Empty components at the end are there without being written: an asterisk or a caret may stand for them."""
    wanted = pattern(plain(key).rstrip("^"), any_one="[^\0]", caret="[\\^\0]")
    whole = plain(stored).rstrip("^")
    return any(re.fullmatch(wanted, whole + "\0" * extra, re.DOTALL) for extra in range(6))


def day(text):
    """The day a DA is."""
    return [date(int(text[:4]), int(text[4:6]), int(text[6:8]))] * 2 if re.fullmatch(r"\d{8}", text) else None


def moment(text):
    """First and last microsecond of the day that a TM may mean."""
    if not re.fullmatch(r"\d\d(\d\d(\d\d(\.\d{1,6})?)?)?", text):
        return None
    whole, _, fraction = text.partition(".")
    parts = [int(whole[at : at + 2]) for at in range(0, len(whole), 2)]
    start = timedelta(hours=parts[0], minutes=(parts[1:] or [0])[0], seconds=(parts[2:] or [0])[0])
    start += timedelta(microseconds=int(fraction.ljust(6, "0") or 0)) if fraction else timedelta()
    length = (timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1))[len(parts) - 1]
    if fraction:
        length = timedelta(microseconds=10 ** (6 - len(fraction)))
    return [start, start + length - timedelta(microseconds=1)]


def in_range(key, stored, read) -> bool:
    """A single value or a range with one or two ends."""
    there = read(stored)
    ends = bounds(key, read)
    if ends is None:
        return key == stored
    low, high = ends
    return there is not None and (low is None or low <= there[0]) and (high is None or there[0] <= high)


def bounds(key, read):
    """The ends of a range; None when it is none."""
    single = read(key)
    if single is not None:
        return single[0], single[1]
    first, hyphen, last = key.partition("-")
    low, high = read(first) if first else None, read(last) if last else None
    if not hyphen or (first and low is None) or (last and high is None) or not (first or last):
        return None
    return (low[0] if low else None), (high[1] if high else None)


def instant(text):
    """First and last moment, in UTC, that a DT may mean."""
    found = re.fullmatch(r"(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:\.(\d{1,6}))?([+-]\d{4})?", text)
    if found is None:
        return None
    numbers = [int(part) for part in found.groups()[:6] if part is not None]
    if found[8] and int(found[8][1:]) > 1400:
        return None
    start = datetime(*(numbers + [1, 1][max(0, len(numbers) - 1) :] if len(numbers) < 3 else numbers))  # noqa: DTZ001
    step = len(numbers)
    if step == 1:
        end = datetime(numbers[0] + 1, 1, 1)  # noqa: DTZ001
    elif step == 2:
        end = datetime(numbers[0] + numbers[1] // 12, numbers[1] % 12 + 1, 1)  # noqa: DTZ001
    else:
        end = start + (timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1))[step - 3]
    if found[7]:
        start += timedelta(microseconds=int(found[7].ljust(6, "0")))
        end = start + timedelta(microseconds=10 ** (6 - len(found[7])))
    offset = timedelta()
    if found[8]:
        offset = timedelta(hours=int(found[8][1:3]), minutes=int(found[8][3:])) * (-1 if found[8][0] == "-" else 1)
    return start - offset, end - timedelta(microseconds=1) - offset


def datetime_matches(key, stored) -> bool:
    """A single moment, or a range: the hyphen that leaves a DT, or nothing, on either side."""
    there = instant(stored)
    single = instant(key)
    if single is not None:
        return single[0] <= there[0] <= single[1]
    for at in [at for at, character in enumerate(key) if character == "-"]:
        low, high = key[:at], key[at + 1 :]
        ends = instant(low) if low else None, instant(high) if high else None
        if (low and ends[0] is None) or (high and ends[1] is None):
            continue
        return (not low or ends[0][0] <= there[0]) and (not high or there[0] <= ends[1][1])
    return False


def both_match(date_key, time_key, stored_date, stored_time) -> bool | None:
    """Combined date and time (PS3.4 C.2.2.2.5.4); None when the two are not both given as single ranges."""
    if len(values(date_key)) != 1 or len(values(time_key)) != 1:
        return None
    days, times = bounds(values(date_key)[0], day), bounds(values(time_key)[0], moment)
    if days is None or times is None:
        return None
    there = day(stored_date) if stored_date else None
    if there is None:
        return False
    when = (there[0], moment(stored_time)[0] if stored_time else timedelta())
    low = (days[0] or date.min, times[0] or timedelta())
    high = (days[1] or date.max, times[1] if times[1] is not None else timedelta(days=2))
    return low <= when <= high
