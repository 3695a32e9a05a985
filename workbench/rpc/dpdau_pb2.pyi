import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Event(_message.Message):
    __slots__ = ("user", "day", "timestamp", "op", "segments")
    class Op(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ADD: _ClassVar[Event.Op]
        RETRACT: _ClassVar[Event.Op]
        ERASE: _ClassVar[Event.Op]
    ADD: Event.Op
    RETRACT: Event.Op
    ERASE: Event.Op
    class SegmentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    USER_FIELD_NUMBER: _ClassVar[int]
    DAY_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    user: str
    day: str
    timestamp: _timestamp_pb2.Timestamp
    op: Event.Op
    segments: _containers.ScalarMap[str, str]
    def __init__(self, user: _Optional[str] = ..., day: _Optional[str] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., op: _Optional[_Union[Event.Op, str]] = ..., segments: _Optional[_Mapping[str, str]] = ...) -> None: ...

class IngestRequest(_message.Message):
    __slots__ = ("events", "partial")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    partial: bool
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., partial: _Optional[bool] = ...) -> None: ...

class IngestResponse(_message.Message):
    __slots__ = ("accepted", "late", "seq", "rejected", "events")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    accepted: int
    late: int
    seq: int
    rejected: int
    events: _containers.RepeatedCompositeFieldContainer[RejectedEvent]
    def __init__(self, accepted: _Optional[int] = ..., late: _Optional[int] = ..., seq: _Optional[int] = ..., rejected: _Optional[int] = ..., events: _Optional[_Iterable[_Union[RejectedEvent, _Mapping]]] = ...) -> None: ...

class RejectedEvent(_message.Message):
    __slots__ = ("index", "reason")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    index: int
    reason: str
    def __init__(self, index: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class CloseDayRequest(_message.Message):
    __slots__ = ("day", "confirm")
    DAY_FIELD_NUMBER: _ClassVar[int]
    CONFIRM_FIELD_NUMBER: _ClassVar[int]
    day: str
    confirm: bool
    def __init__(self, day: _Optional[str] = ..., confirm: _Optional[bool] = ...) -> None: ...

class CloseDayResponse(_message.Message):
    __slots__ = ("releases",)
    RELEASES_FIELD_NUMBER: _ClassVar[int]
    releases: _containers.RepeatedCompositeFieldContainer[Release]
    def __init__(self, releases: _Optional[_Iterable[_Union[Release, _Mapping]]] = ...) -> None: ...

class EraseUserRequest(_message.Message):
    __slots__ = ("user",)
    USER_FIELD_NUMBER: _ClassVar[int]
    user: str
    def __init__(self, user: _Optional[str] = ...) -> None: ...

class EraseUserResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DrawFreshReleaseRequest(_message.Message):
    __slots__ = ("metric", "day")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    DAY_FIELD_NUMBER: _ClassVar[int]
    metric: str
    day: str
    def __init__(self, metric: _Optional[str] = ..., day: _Optional[str] = ...) -> None: ...

class GetReleaseRequest(_message.Message):
    __slots__ = ("metric", "day")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    DAY_FIELD_NUMBER: _ClassVar[int]
    metric: str
    day: str
    def __init__(self, metric: _Optional[str] = ..., day: _Optional[str] = ...) -> None: ...

class GetAnswerRequest(_message.Message):
    __slots__ = ("question", "day")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    DAY_FIELD_NUMBER: _ClassVar[int]
    question: str
    day: str
    def __init__(self, question: _Optional[str] = ..., day: _Optional[str] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("releases",)
    RELEASES_FIELD_NUMBER: _ClassVar[int]
    releases: _containers.RepeatedCompositeFieldContainer[Release]
    def __init__(self, releases: _Optional[_Iterable[_Union[Release, _Mapping]]] = ...) -> None: ...

class ListReleasesRequest(_message.Message):
    __slots__ = ("metric", "from_day", "to_day")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    FROM_DAY_FIELD_NUMBER: _ClassVar[int]
    TO_DAY_FIELD_NUMBER: _ClassVar[int]
    metric: str
    from_day: str
    to_day: str
    def __init__(self, metric: _Optional[str] = ..., from_day: _Optional[str] = ..., to_day: _Optional[str] = ...) -> None: ...

class Release(_message.Message):
    __slots__ = ("row", "metric", "window", "day", "as_of", "estimate", "ci_low", "ci_high", "ci_level", "std", "epsilon", "delta", "epsilon_total", "delta_total", "mechanism", "sketch", "unit", "w_bound", "horizon", "budget", "budget_remaining", "secure", "question", "breakdown", "segment")
    ROW_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    DAY_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    CI_LOW_FIELD_NUMBER: _ClassVar[int]
    CI_HIGH_FIELD_NUMBER: _ClassVar[int]
    CI_LEVEL_FIELD_NUMBER: _ClassVar[int]
    STD_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    EPSILON_TOTAL_FIELD_NUMBER: _ClassVar[int]
    DELTA_TOTAL_FIELD_NUMBER: _ClassVar[int]
    MECHANISM_FIELD_NUMBER: _ClassVar[int]
    SKETCH_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    W_BOUND_FIELD_NUMBER: _ClassVar[int]
    HORIZON_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    BUDGET_REMAINING_FIELD_NUMBER: _ClassVar[int]
    SECURE_FIELD_NUMBER: _ClassVar[int]
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    BREAKDOWN_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    row: str
    metric: str
    window: int
    day: str
    as_of: str
    estimate: float
    ci_low: float
    ci_high: float
    ci_level: float
    std: float
    epsilon: float
    delta: float
    epsilon_total: float
    delta_total: float
    mechanism: str
    sketch: str
    unit: str
    w_bound: int
    horizon: int
    budget: str
    budget_remaining: float
    secure: bool
    question: str
    breakdown: str
    segment: str
    def __init__(self, row: _Optional[str] = ..., metric: _Optional[str] = ..., window: _Optional[int] = ..., day: _Optional[str] = ..., as_of: _Optional[str] = ..., estimate: _Optional[float] = ..., ci_low: _Optional[float] = ..., ci_high: _Optional[float] = ..., ci_level: _Optional[float] = ..., std: _Optional[float] = ..., epsilon: _Optional[float] = ..., delta: _Optional[float] = ..., epsilon_total: _Optional[float] = ..., delta_total: _Optional[float] = ..., mechanism: _Optional[str] = ..., sketch: _Optional[str] = ..., unit: _Optional[str] = ..., w_bound: _Optional[int] = ..., horizon: _Optional[int] = ..., budget: _Optional[str] = ..., budget_remaining: _Optional[float] = ..., secure: _Optional[bool] = ..., question: _Optional[str] = ..., breakdown: _Optional[str] = ..., segment: _Optional[str] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("promise", "first_day", "last_closed_day", "open_day", "operations")
    PROMISE_FIELD_NUMBER: _ClassVar[int]
    FIRST_DAY_FIELD_NUMBER: _ClassVar[int]
    LAST_CLOSED_DAY_FIELD_NUMBER: _ClassVar[int]
    OPEN_DAY_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    promise: str
    first_day: str
    last_closed_day: str
    open_day: str
    operations: int
    def __init__(self, promise: _Optional[str] = ..., first_day: _Optional[str] = ..., last_closed_day: _Optional[str] = ..., open_day: _Optional[str] = ..., operations: _Optional[int] = ...) -> None: ...
