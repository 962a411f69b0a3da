"""
Read a region's events in order, from now on or after what a reader has.

A reader's place is one sequence per window that may still have events, written ``12:5,13:1``: windows
newer than all of them are unread, older ones that are not named are wholly read. So nothing hangs on
the outbox's own numbers, which transactions take in one order and commit in another.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db.models import Max, Q

from clearing.models import ClearingWindow, WindowEvent
from clearing.states import FINAL_WINDOW, EventType, Region
from clearing_project.errors import Invalid

BATCH_MAX = 500
WINDOWS_MAX = 100
DIGITS_MAX = 18
TEXT_MAX = 100
LAST_EVENTS = (EventType.COMPLETED, EventType.FAILED)


class ResumeInvalid(Invalid):
    """It is no place that a reader of this region can have reached."""

    code = "resume_invalid"
    fields = ("resume_after", "region")
    message = (
        "{resume_after!r} is no place in the events of {region}: give the resume_after of the last update,"
        " WINDOW:SEQUENCE pairs, or one window's sequence."
    )


@dataclass(slots=True)
class Cursor:
    """How far a reader of one region is."""

    sequences: dict[int, int]
    _ended: set[int] = field(default_factory=set)

    @property
    def newest(self) -> int:
        """The newest window that is read at all; 0 if there is none."""
        return max(self.sequences, default=0)

    def advance(self, event: WindowEvent) -> bool:
        """Take *event* as read; False if it was read before."""
        window_id = event.window_id
        if window_id not in self.sequences and window_id <= self.newest:
            return False
        if event.sequence <= self.sequences.get(window_id, 0):
            return False
        self.sequences[window_id] = event.sequence
        if event.event_type in LAST_EVENTS:
            self._ended.add(window_id)
        for ended in [each for each in self._ended if each != self.newest]:
            self._ended.remove(ended)
            del self.sequences[ended]
        return True

    def __str__(self) -> str:
        pairs = sorted(self.sequences.items()) or [(0, 0)]
        return ",".join(f"{window_id}:{sequence}" for window_id, sequence in pairs)


def now(region: Region) -> Cursor:
    """Return the place of a reader who has everything up to now."""
    windows = ClearingWindow.objects.filter(region=region)
    newest = windows.order_by("-id").values("id")[:1]
    live = windows.filter(~Q(status__in=FINAL_WINDOW) | Q(id__in=newest))
    return Cursor(dict(live.values_list("id", "event_count")))


def resume(region: Region, text: str) -> Cursor:
    """
    Return the place that *text* names: ``WINDOW:SEQUENCE`` pairs, or one window's sequence alone.

    A number alone is taken of the oldest window that has not ended and has that many events, or of the
    newest with that many if all have ended; what the outbox got before that event counts as read. It
    is exact as long as one window of the region is followed; the pairs always are.

    Raises:
        ResumeInvalid
    """
    if _is_number(text):
        return _after_sequence(region, int(text))
    pairs = [pair.split(":") for pair in text.split(",")]
    if len(pairs) > WINDOWS_MAX or not all(len(pair) == 2 and all(map(_is_number, pair)) for pair in pairs):
        raise ResumeInvalid(text[:TEXT_MAX], region.value)
    read = {int(window_id): int(sequence) for window_id, sequence in pairs}
    read.pop(0, None)  # of a reader who came before the first window
    windows = list(ClearingWindow.objects.filter(region=region, id__in=read))
    if len(windows) < len(read) or any(window.event_count < read[window.pk] for window in windows):
        raise ResumeInvalid(text[:TEXT_MAX], region.value)
    return _cursor(windows, read)


def after(region: Region, cursor: Cursor) -> list[WindowEvent]:
    """
    Read up to BATCH_MAX events that follow *cursor*, in order per window; the cursor stays.

    Per window the order of ids is that of sequences: both are taken under the window's lock.
    """
    unread = Q(window_id__gt=cursor.newest)
    for window_id, sequence in cursor.sequences.items():
        unread |= Q(window_id=window_id, sequence__gt=sequence)
    events = WindowEvent.objects.filter(unread, window__region=region).order_by("id")
    return list(events[:BATCH_MAX])


def _after_sequence(region: Region, sequence: int) -> Cursor:
    windows = ClearingWindow.objects.filter(region=region)
    candidates = windows.filter(event_count__gte=max(sequence, 1))
    live = candidates.exclude(status__in=FINAL_WINDOW).order_by("id").first()
    followed = live or candidates.order_by("-id").first()
    if followed is None:
        if sequence:
            raise ResumeInvalid(str(sequence), region.value)
        return Cursor({})
    first = WindowEvent.objects.get(window=followed, sequence=max(sequence, 1))
    read_up_to = first.pk if sequence else first.pk - 1
    reached = Max("events__sequence", filter=Q(events__pk__lte=read_up_to))
    rows = list(windows.annotate(read=reached).order_by("id"))
    newest = max((row.pk for row in rows if row.read), default=0)
    older = [row for row in rows if row.pk <= newest]
    return _cursor(older, {row.pk: row.read or 0 for row in older})


def _cursor(windows: Sequence[ClearingWindow], read: dict[int, int]) -> Cursor:
    """Keep the windows that may have more events, and the newest."""
    newest = max(read, default=0)
    return Cursor(
        {
            window.pk: read[window.pk]
            for window in windows
            if window.pk == newest
            or window.status not in FINAL_WINDOW
            or read[window.pk] < window.event_count
        }
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX
