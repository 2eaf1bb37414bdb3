"""OKJ's orders: place, cancel, the timer, and what each list keeps (docs/venues.md#okcoinjp)."""

import re
from collections.abc import Iterable
from dataclasses import replace
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from simvenue.amounts import positive
from simvenue.calendar_bars import DAY_MS
from simvenue.okcoinjp_market import INSTRUMENT_TYPES, find_pair
from simvenue.okcoinjp_protocol import (
    BAD_PARAMETER,
    Action,
    Call,
    Params,
    Refusal,
    need,
    one_page,
    whole_number,
)
from simvenue.okcoinjp_rows import STATES, bill_id, fill_row, order_row, order_type
from simvenue.values import AlreadyEnded, Fill, Level, Order, OrderRequest, Pair, Rejection
from simvenue.venue import Venue

CLIENT_ID = re.compile(r"[A-Za-z0-9]{1,32}")
TAG = re.compile(r"[A-Za-z0-9]{1,16}")
TIMES_IN_FORCE = {"market": "gtc", "limit": "gtc", "post_only": "post_only", "fok": "fok", "ioc": "ioc"}

UNFILLED_KEPT_MS = 2 * 3_600_000
HISTORY_MS = 7 * DAY_MS
ARCHIVE_MS = 90 * DAY_MS
FILLS_MS = 3 * DAY_MS
FILLS_HISTORY_MS = 30 * DAY_MS

FAR_FUTURE_MS = 1 << 62

SHORTEST_TIMER_S, LONGEST_TIMER_S = 10, 120

REJECTIONS = {
    "insufficient_funds": ("51008", "Order failed. Insufficient balance in account"),
    "too_small": ("51020", "Your order should meet or exceed the minimum order amount."),
    "below_min_notional": ("51020", "Your order should meet or exceed the minimum order amount."),
    "too_large": ("51005", "Your order amount exceeds the max order amount."),
    "off_tick": (BAD_PARAMETER, "Parameter px error"),
    "off_lot": ("51121", "Order quantity must be a multiple of the lot size."),
    "price_band": ("51006", "Order price is not within the price limit"),
    "too_many_orders": ("51025", "Order count exceeds the limit"),
    "halted": ("51110", "You can only place a limit order after Call Auction has started."),
    "closed": ("50001", "Service temporarily unavailable. Try again later."),
}


class OkcoinjpOrders:
    """Take, cancel and list the account's orders."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._pairs: dict[str, Pair] = {pair.symbol: pair for pair in venue.spec.pairs}
        self.actions: dict[tuple[str, str], Action] = {
            ("POST", "/api/v5/trade/order"): self.place,
            ("POST", "/api/v5/trade/batch-orders"): self.place,
            ("POST", "/api/v5/trade/cancel-order"): self.cancel,
            ("POST", "/api/v5/trade/cancel-batch-orders"): self.cancel,
        }
        self.calls: dict[tuple[str, str], Call] = {
            ("GET", "/api/v5/trade/order"): self.order,
            ("GET", "/api/v5/trade/orders-pending"): self.pending,
            ("GET", "/api/v5/trade/orders-history"): self.history,
            ("GET", "/api/v5/trade/orders-history-archive"): self.archive,
            ("GET", "/api/v5/trade/fills"): self.fills,
            ("GET", "/api/v5/trade/fills-history"): self.fills_history,
            ("POST", "/api/v5/trade/cancel-all-after"): self.cancel_all_after,
        }

    def place(self, params: Params) -> dict[str, str]:
        """Place one order and tell what became of it; a client id is refused only while pending."""
        try:
            order = self._place(params)
        except Refusal as refusal:
            return self._outcome(params, "", refusal)
        return self._outcome(params, order.id, None)

    def cancel(self, params: Params) -> dict[str, str]:
        """Cancel one order by its id or the client's and tell what became of it."""
        try:
            pair = find_pair(self._venue, params)
            if "ordId" not in params and "clOrdId" not in params:
                raise Refusal(BAD_PARAMETER, "Either parameter ordId or clOrdId is required")
            order = self._find(pair, params)
            if order is None or self._venue.shown.forgets(order):
                raise Refusal("51400", "Cancellation failed as the order does not exist.")
            self._venue.cancel(order)
        except AlreadyEnded:
            done = Refusal("51400", "Cancellation failed as the order has been filled or canceled.")
            return self._outcome(params, params.get("ordId", ""), done, with_tag=False)
        except Refusal as refusal:
            return self._outcome(params, params.get("ordId", ""), refusal, with_tag=False)
        named = params if "clOrdId" in params else dict(params) | {"clOrdId": order.client_id}
        return self._outcome(named, order.id, None, with_tag=False)

    def cancel_all_after(self, params: Params) -> list[Any]:
        """Arm the timer (10..120 s of market time) or, with 0, disarm it."""
        seconds = whole_number({"timeOut": need(params, "timeOut")}, "timeOut") or 0
        if seconds and not SHORTEST_TIMER_S <= seconds <= LONGEST_TIMER_S:
            raise Refusal(BAD_PARAMETER, "Parameter timeOut error")
        if "tag" in params:
            raise Refusal(BAD_PARAMETER, "Parameter tag error")  # a timer for one tag is not simulated
        fires_at = self._venue.cancel_all_after(seconds or None)
        row = {"triggerTime": str(fires_at or 0), "tag": "", "ts": str(self._venue.clock.now_ms())}
        return [row]

    def order(self, params: Params) -> list[Any]:
        """Give one order; of several with the same client id the newest."""
        pair = find_pair(self._venue, params)
        if "ordId" not in params and "clOrdId" not in params:
            raise Refusal(BAD_PARAMETER, "Either parameter ordId or clOrdId is required", 400)
        order = self._find(pair, params)
        if order is not None:
            order = self._venue.shown.order_by_id(order.id)
        if order is None or not (order.is_open or self._still_kept(order, ARCHIVE_MS)):
            raise Refusal("51603", "Order does not exist")
        return [self._row(order)]

    def pending(self, params: Params) -> list[Any]:
        return self._page(self._venue.shown.open_orders(), params)

    def history(self, params: Params) -> list[Any]:
        return self._ended(params, HISTORY_MS)

    def archive(self, params: Params) -> list[Any]:
        return self._ended(params, ARCHIVE_MS)

    def fills(self, params: Params) -> list[Any]:
        return self._fills(params, FILLS_MS)

    def fills_history(self, params: Params) -> list[Any]:
        need(params, "instType")
        return self._fills(params, FILLS_HISTORY_MS)

    def _place(self, params: Params) -> Order:
        pair = find_pair(self._venue, params)
        request = self._request(pair, params)
        if request.client_id:
            known = self._venue.order_by_client_id(request.client_id)
            if known is not None and known.is_open:
                raise Refusal("51016", "Duplicated client order ID")
        if self._venue.is_halted and params.get("ordType") != "limit":
            raise Refusal(*REJECTIONS["halted"])
        try:
            try:
                return self._venue.place(request)
            except Rejection as rejection:
                shrunk = self._shrunk(pair, request, params)
                if rejection.reason != "insufficient_funds" or shrunk is None:
                    raise
                return self._venue.place(shrunk)
        except Rejection as rejection:
            raise Refusal(*REJECTIONS[rejection.reason]) from rejection

    def _request(self, pair: Pair, params: Params) -> OrderRequest:
        side, kind = params.get("side", ""), params.get("ordType", "")
        if params.get("tdMode") != "cash":
            raise Refusal(BAD_PARAMETER, "Parameter tdMode error")
        if side not in ("buy", "sell"):
            raise Refusal(BAD_PARAMETER, "Parameter side error")
        if kind not in TIMES_IN_FORCE:
            raise Refusal(BAD_PARAMETER, "Parameter ordType error")
        size = positive(params.get("sz", ""))
        if size is None:
            raise Refusal(BAD_PARAMETER, "Parameter sz error")
        client_id, tag = params.get("clOrdId", ""), params.get("tag", "")
        if client_id and not CLIENT_ID.fullmatch(client_id):
            raise Refusal(BAD_PARAMETER, "Parameter clOrdId error")
        if tag and not TAG.fullmatch(tag):
            raise Refusal(BAD_PARAMETER, "Parameter tag error")
        price = None
        if kind != "market":
            price = positive(params.get("px", ""))
            if price is None:
                raise Refusal(BAD_PARAMETER, "Parameter px error")
        wire = {"tag": tag} if tag else {}
        by_value = False
        if kind == "market":  # the unit of the size matters to spot market orders only
            unit = params.get("tgtCcy") or ("quote_ccy" if side == "buy" else "base_ccy")
            if unit not in ("base_ccy", "quote_ccy") or (side == "sell" and unit == "quote_ccy"):
                raise Refusal(BAD_PARAMETER, "Parameter tgtCcy error")
            by_value = unit == "quote_ccy"
            wire["tgtCcy"] = unit
        return OrderRequest(
            symbol=pair.symbol,
            side=side,
            type="market" if kind == "market" else "limit",
            quantity=None if by_value else size,
            price=price,
            time_in_force=TIMES_IN_FORCE[kind],
            client_id=client_id,
            quote_budget=size if by_value else None,
            wire=wire,
        )

    def _shrunk(self, pair: Pair, request: OrderRequest, params: Params) -> OrderRequest | None:
        """Cut a market order down to the money that is there, as the venue does unless banAmend is set."""
        if request.type != "market" or params.get("banAmend") == "true":
            return None
        if request.side == "sell":
            quantity = _whole_lots(self._venue.available(pair.base), pair.lot)
            return replace(request, quantity=quantity) if quantity else None
        money = self._venue.available(pair.quote)
        if request.quote_budget is not None:
            return replace(request, quote_budget=money) if money > 0 else None
        asks = self._venue.market(pair.symbol).book()[1]
        quantity = _whole_lots(_affordable(asks, money), pair.lot)
        return replace(request, quantity=quantity) if quantity else None

    def _outcome(
        self, params: Params, order_id: str, refusal: Refusal | None, *, with_tag: bool = True
    ) -> dict[str, str]:
        tag = {"tag": params.get("tag", "")} if with_tag else {}
        return {
            "clOrdId": params.get("clOrdId", ""),
            "ordId": order_id,
            **tag,
            "ts": str(self._venue.clock.now_ms()),
            "sCode": refusal.code if refusal else "0",
            "sMsg": refusal.message if refusal else "",
        }

    def _find(self, pair: Pair, params: Params) -> Order | None:
        """Find an order by ordId, which has priority, or clOrdId, within one instrument."""
        if "ordId" in params:
            order = self._venue.order_by_id(params["ordId"])
        else:
            order = self._venue.order_by_client_id(params["clOrdId"])
        return order if order is not None and order.symbol == pair.symbol else None

    def _ended(self, params: Params, kept_ms: int) -> list[Any]:
        need(params, "instType")
        return self._page(
            [order for order in self._venue.shown.orders() if not order.is_open and self._still_kept(order, kept_ms)],
            params,
        )

    def _still_kept(self, order: Order, kept_ms: int) -> bool:
        """An ended order stays for `kept_ms`; cancelled without a fill it vanishes after two hours."""
        age_ms = self._venue.clock.now_ms() - order.updated_at
        return age_ms <= (kept_ms if order.filled else UNFILLED_KEPT_MS)

    def _page(self, orders: Iterable[Order], params: Params) -> list[Any]:
        begin, end = _span(params)
        rows = [
            (int(order.id), order)
            for order in sorted(orders, key=lambda each: each.number, reverse=True)
            if begin <= order.created_at <= end
            and params.get("instId") in (None, self._pairs[order.symbol].venue_symbol)
            and params.get("state") in (None, STATES[order.status])
            and ("ordType" not in params or order_type(order) in params["ordType"].split(","))
        ]
        page = one_page(rows if _wants_spot(params) else [], params)
        return [self._row(order) for order in page]

    def _fills(self, params: Params, kept_ms: int) -> list[Any]:
        begin, end = _span(params)
        begin = max(begin, self._venue.clock.now_ms() - kept_ms)
        rows = []
        for mark, fill in self._venue.shown.marked(self._venue.shown.fills(), lambda fill: bill_id(fill, 0)):
            pair = self._pairs[fill.order.symbol]
            if (
                begin <= fill.at <= end
                and params.get("instId") in (None, pair.venue_symbol)
                and params.get("ordId") in (None, fill.order.id)
            ):
                rows.append((mark, fill))
        page = one_page(rows if _wants_spot(params) else [], params)
        return [fill_row(fill, self._pairs[fill.order.symbol]) for fill in self._venue.shown.served(page)]

    def _row(self, order: Order) -> dict[str, Any]:
        fills: list[Fill] = self._venue.shown.fills_of(order)
        return order_row(order, self._pairs[order.symbol], fills)


def _whole_lots(quantity: Decimal, lot: Decimal) -> Decimal:
    return (quantity / lot).to_integral_value(ROUND_FLOOR) * lot


def _affordable(asks: list[Level], money: Decimal) -> Decimal:
    """Walk the book for the base quantity that `money` buys at once."""
    bought = Decimal(0)
    for level in asks:
        take = min(level.size, money / level.price)
        bought += take
        money -= take * level.price
        if money <= 0:
            break
    return bought


def _wants_spot(params: Params) -> bool:
    kind = params.get("instType", "SPOT")
    if kind not in INSTRUMENT_TYPES:
        raise Refusal(BAD_PARAMETER, "Parameter instType error", 400)
    return kind == "SPOT"


def _span(params: Params) -> tuple[int, int]:
    """Read begin and end (ms, both included); open on either side by default."""
    begin, end = whole_number(params, "begin"), whole_number(params, "end")
    return begin or 0, FAR_FUTURE_MS if end is None else end
