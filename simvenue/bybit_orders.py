"""Bybit's orders: create, cancel, and the three lists with what each of them keeps (docs/venues.md#bybit)."""

import re
from collections.abc import Iterable
from decimal import Decimal
from itertools import islice
from typing import Any

from simvenue.amounts import positive
from simvenue.bybit_market import PRICE_LIMIT_RATIO, find_pair
from simvenue.bybit_protocol import BAD_PARAMETER, Call, Params, Refusal, category, one_page, whole_number
from simvenue.bybit_rows import execution_row, order_row, order_status
from simvenue.calendar_bars import DAY_MS
from simvenue.values import AlreadyEnded, Fill, Order, OrderRequest, Pair, Rejection, plain
from simvenue.venue import Venue

LINK_ID = re.compile(r"[A-Za-z0-9_-]{1,36}")
TIMES_IN_FORCE = {"GTC": "gtc", "IOC": "ioc", "FOK": "fok", "PostOnly": "post_only"}
CONDITIONAL = ("triggerPrice", "takeProfit", "stopLoss", "slippageTolerance", "bboSideType")
ORDER_FILTERS = ("Order", "tpslOrder", "StopOrder", "OcoOrder", "BidirectionalTpslOrder")

CLOSED_IN_REALTIME = 500
CANCELLED_KEPT_MS = DAY_MS
HISTORY_WINDOW_MS = 7 * DAY_MS
FILLED_KEPT_MS = 730 * DAY_MS

NOT_FOUND = {
    "spot": (170213, "Order does not exist."),
    "linear": (110001, "order not exists or too late to cancel"),
}
DUPLICATE = {"spot": (170141, "Duplicate clientOrderId"), "linear": (110072, "OrderLinkedID is duplicate")}
REJECTIONS: dict[str, dict[str, tuple[int, str]]] = {
    "spot": {
        "insufficient_funds": (170131, "Insufficient balance."),
        "too_small": (170136, "Order quantity below the lower limit."),
        "too_large": (170135, "Order quantity exceeded upper limit."),
        "below_min_notional": (170140, "Order value exceeded lower limit."),
        "off_tick": (170134, "Order price decimal too long."),
        "off_lot": (170137, "Order quantity decimal too long."),
        "price_band": (170133, "Order price exceeded limit."),
        "too_many_orders": (170810, "Cannot exceed maximum of 500 conditional, TP/SL and active orders."),
        "closed": (170031, "The feature has been suspended"),
    },
    "linear": {
        "insufficient_funds": (110007, "ab not enough for new order"),
        "too_small": (BAD_PARAMETER, "The number of contracts below minimum limit allowed"),
        "too_large": (BAD_PARAMETER, "The number of contracts exceeds maximum limit allowed: too large"),
        "below_min_notional": (110094, "Order does not meet minimum order value 5USDT"),
        "off_tick": (BAD_PARAMETER, "Price invalid"),
        "off_lot": (BAD_PARAMETER, "Qty invalid"),
        "price_band": (110003, "Order price exceeds the allowable range."),
        "too_many_orders": (110020, "Not allowed to have more than 500 active orders"),
        "closed": (110066, "Trading is currently not allowed."),
        "reduce_only": (110017, "Reduce-only rule not satisfied"),
    },
}


class BybitOrders:
    """Take, cancel and list the account's orders."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._pairs: dict[str, Pair] = {pair.symbol: pair for pair in venue.spec.pairs}
        self.calls: dict[tuple[str, str], Call] = {
            ("POST", "/v5/order/create"): self.create,
            ("POST", "/v5/order/cancel"): self.cancel,
            ("POST", "/v5/order/cancel-all"): self.cancel_all,
            ("POST", "/v5/order/pre-check"): self.pre_check,
            ("GET", "/v5/order/realtime"): self.realtime,
            ("GET", "/v5/order/history"): self.history,
            ("GET", "/v5/execution/list"): self.executions,
        }

    def create(self, params: Params) -> dict[str, Any]:
        """Accept an order; how it fares is seen in the lists only."""
        pair = self._tradable(params)
        request = self._request(pair, params)
        if self._venue.is_halted:
            raise Refusal(*REJECTIONS[pair.category]["closed"])
        if request.client_id and self._venue.order_by_client_id(request.client_id) is not None:
            raise Refusal(*DUPLICATE[pair.category])
        try:
            order = self._venue.place(request)
        except Rejection as rejection:
            raise Refusal(*REJECTIONS[pair.category][rejection.reason]) from rejection
        return {"orderId": order.id, "orderLinkId": order.client_id}

    def cancel(self, params: Params) -> dict[str, Any]:
        pair = self._tradable(params)
        if "orderId" in params:
            order = self._venue.order_by_id(params["orderId"])
        elif "orderLinkId" in params:
            order = self._venue.order_by_client_id(params["orderLinkId"])
        else:
            raise Refusal(BAD_PARAMETER, "params error: orderId and orderLinkId are both empty")
        unknown = order is None or order.symbol != pair.symbol or self._venue.shown.forgets(order)
        if order is None or unknown or _order_filter(params) != "Order":
            raise Refusal(*NOT_FOUND[pair.category])
        try:
            self._venue.cancel(order)
        except AlreadyEnded:
            raise Refusal(*NOT_FOUND[pair.category]) from None
        return {"orderId": order.id, "orderLinkId": order.client_id}

    def cancel_all(self, params: Params) -> dict[str, Any]:
        """Cancel what rests in ONE category; an absent category is not "all of them"."""
        word = category(params)
        _need_scope(params, word)
        resting = [] if _order_filter(params) != "Order" else self._venue.open_orders()
        chosen = [order for order in resting if self._matches(order, word, params)]
        ids = []
        for order in chosen:
            try:
                self._venue.cancel(order)
            except AlreadyEnded:
                continue  # filled in the meantime: not among those that were cancelled
            ids.append({"orderId": order.id, "orderLinkId": order.client_id})
        return {"list": ids, "success": "1"}

    def pre_check(self, params: Params) -> dict[str, Any]:
        """Tell an order's effect on the initial margin rate, in 1/10000 of the equity; nothing is placed."""
        pair = self._tradable(params)
        request = self._request(pair, params)
        equity = sum(self._venue.balances().get(pair.quote, (Decimal(0), Decimal(0))))
        contracts = [each for each in self._venue.spec.pairs if each.kind == "perpetual"]
        used = sum(
            (self._venue.position_margin(each.symbol) + self._venue.order_margin(each.symbol) for each in contracts),
            Decimal(0),
        )
        added = Decimal(0)
        if pair.kind == "perpetual" and request.quantity is not None:
            price = request.price or self._venue.market(pair.symbol).ticker().last
            added = request.quantity * price / self._venue.leverage(pair.symbol)
        before = int(used * 10_000 / equity) if equity else 0
        after = int((used + added) * 10_000 / equity) if equity else 0
        return {
            "orderId": "",
            "orderLinkId": request.client_id,
            "preImrE4": before,
            "preMmrE4": 0,
            "postImrE4": after,
            "postMmrE4": 0,
        }

    def realtime(self, params: Params) -> dict[str, Any]:
        """List open orders, newest first; by id, or with openOnly 1, also the category's last 500 closed."""
        word = category(params)
        by_id = "orderId" in params or "orderLinkId" in params
        if not by_id:
            _need_scope(params, word)
        shown = self._venue.shown
        if by_id:
            current = shown.current_orders()
            known = [order for order in current if order.is_open] + self._closed_lately(current, word)
        elif params.get("openOnly") in ("1", "2"):
            known = self._closed_lately(shown.orders(), word)
        else:
            known = shown.open_orders()
        return self._order_page(known, word, params)

    def history(self, params: Params) -> dict[str, Any]:
        """List ended orders of at most 7 days, newest first; cancelled without a fill they last 24 h."""
        word = category(params)
        start, end = self._window(params)
        by_id = "orderId" in params or "orderLinkId" in params
        kept = [
            order
            for order in (self._venue.shown.current_orders() if by_id else self._venue.shown.orders())
            if not order.is_open and start <= order.created_at <= end and self._still_kept(order)
        ]
        return self._order_page(kept, word, params)

    def executions(self, params: Params) -> dict[str, Any]:
        """List fills of at most 7 days, newest first."""
        word = category(params)
        start, end = self._window(params)
        rows = []
        for mark, fill in self._venue.shown.marked(self._venue.shown.fills(), lambda fill: fill.number):
            pair = self._pairs[fill.order.symbol]
            if pair.category != word or not start <= fill.at <= end or not _names(fill.order, params):
                continue
            if params.get("symbol") not in (None, pair.venue_symbol):
                continue
            rows.append((mark, fill))
        if params.get("execType") not in (None, "Trade"):
            rows = []
        page, cursor = one_page(rows, params, 50, 100)
        listed = [self._execution(fill) for fill in self._venue.shown.served(page)]
        return {"category": word, "list": listed, "nextPageCursor": cursor}

    def _execution(self, fill: Fill) -> dict[str, Any]:
        return execution_row(fill, self._pairs[fill.order.symbol], self._left_after(fill))

    def _tradable(self, params: Params) -> Pair:
        word = category(params)
        if "symbol" not in params:
            raise Refusal(BAD_PARAMETER, "params error: symbol is required")
        return find_pair(self._venue, word, params["symbol"])

    def _request(self, pair: Pair, params: Params) -> OrderRequest:
        side, kind = params.get("side", ""), params.get("orderType", "")
        if side not in ("Buy", "Sell"):
            raise Refusal(BAD_PARAMETER, "params error: Side invalid")
        if kind not in ("Limit", "Market"):
            raise Refusal(BAD_PARAMETER, "params error: OrderType invalid")
        asked = positive(params.get("qty", ""))
        if asked is None:
            raise Refusal(BAD_PARAMETER, "params error: Qty invalid")
        if any(name in params and params[name] != "0" for name in CONDITIONAL) or _order_filter(params) != "Order":
            raise Refusal(BAD_PARAMETER, "params error: conditional orders are not taken here")
        if params.get("isLeverage", "0") != "0" or params.get("positionIdx", "0") != "0":
            raise Refusal(BAD_PARAMETER, "params error: position idx not match position mode")
        link_id = params.get("orderLinkId", "")
        if link_id and not LINK_ID.fullmatch(link_id):
            raise Refusal(BAD_PARAMETER, "params error: OrderLinkId is invalid")
        in_force = params.get("timeInForce", "GTC")
        if in_force not in TIMES_IN_FORCE:
            raise Refusal(BAD_PARAMETER, "params error: TimeInForce invalid")
        price = None
        if kind == "Limit":
            price = positive(params.get("price", ""))
            if price is None:
                raise Refusal(BAD_PARAMETER, "params error: Price invalid")
            self._check_price_limit(pair, side, price)
        by_value = self._is_by_value(pair, side, kind, params)
        return OrderRequest(
            symbol=pair.symbol,
            side=side.lower(),
            type=kind.lower(),
            quantity=None if by_value else asked,
            price=price,
            time_in_force="gtc" if kind == "Market" else TIMES_IN_FORCE[in_force],
            client_id=link_id,
            quote_budget=asked if by_value else None,
            reduce_only=pair.kind == "perpetual" and params.get("reduceOnly") == "true",
            wire={"marketUnit": params["marketUnit"]} if "marketUnit" in params else {},
        )

    def _is_by_value(self, pair: Pair, side: str, kind: str, params: Params) -> bool:
        """Tell whether qty is an amount of quote: the default of a spot market buy."""
        if pair.kind != "spot" or kind != "Market":
            return False
        unit = params.get("marketUnit") or ("quoteCoin" if side == "Buy" else "baseCoin")
        if unit not in ("baseCoin", "quoteCoin"):
            raise Refusal(BAD_PARAMETER, "params error: marketUnit invalid")
        if unit == "quoteCoin" and side == "Sell":
            raise Refusal(BAD_PARAMETER, "params error: a sell by value is not taken here")
        return unit == "quoteCoin"

    def _check_price_limit(self, pair: Pair, side: str, price: Decimal) -> None:
        # only the side that would pay too much is held back: a low bid may rest
        last = self._venue.market(pair.symbol).ticker().last
        highest, lowest = last * (1 + PRICE_LIMIT_RATIO), last * (1 - PRICE_LIMIT_RATIO)
        if side == "Buy" and price > highest:
            code = 170193 if pair.category == "spot" else 110003
            raise Refusal(code, f"Buy order price cannot be higher than {plain(highest)}.")
        if side == "Sell" and price < lowest:
            code = 170194 if pair.category == "spot" else 110003
            raise Refusal(code, f"Sell order price cannot be lower than {plain(lowest)}.")

    def _order_page(self, orders: list[Order], word: str, params: Params) -> dict[str, Any]:
        wanted = params.get("orderStatus")
        rows = []
        for order in sorted(orders, key=lambda each: each.number, reverse=True):
            pair = self._pairs[order.symbol]
            if not self._matches(order, word, params) or not _names(order, params):
                continue
            if wanted is None or order_status(order, pair) == wanted:
                rows.append((order.number, order))
        if _order_filter(params) != "Order":
            rows = []
        page, cursor = one_page(rows, params, 20, 50)
        listed = [order_row(order, self._pairs[order.symbol]) for order in page]
        return {"category": word, "list": listed, "nextPageCursor": cursor}

    def _matches(self, order: Order, word: str, params: Params) -> bool:
        pair = self._pairs[order.symbol]
        # with an id given, symbol and coins are not looked at: the id has priority
        if "orderId" in params or "orderLinkId" in params:
            return pair.category == word
        if pair.category != word or params.get("symbol") not in (None, pair.venue_symbol):
            return False
        if "symbol" in params:
            return True
        settles_in = params.get("settleCoin") if word == "linear" else None
        return params.get("baseCoin") in (None, pair.base) and settles_in in (None, pair.quote)

    def _closed_lately(self, known: list[Order], word: str) -> list[Order]:
        """Give the ended orders that the venue still holds in memory: the last 500 of a category."""
        ended = (order for order in reversed(known) if not order.is_open and self._pairs[order.symbol].category == word)
        return list(islice(ended, CLOSED_IN_REALTIME))

    def _window(self, params: Params) -> tuple[int, int]:
        """Read startTime and endTime (ms): at most 7 days apart, by default the last 7 days."""
        start, end = whole_number(params, "startTime"), whole_number(params, "endTime")
        now_ms = self._venue.clock.now_ms()
        if start is None and end is None:
            return now_ms - HISTORY_WINDOW_MS, now_ms
        if start is None:
            start = (end or 0) - HISTORY_WINDOW_MS
        if end is None:
            end = start + HISTORY_WINDOW_MS
        if not 0 <= end - start <= HISTORY_WINDOW_MS:
            raise Refusal(BAD_PARAMETER, "The time range between startTime and endTime cannot exceed 7 days.")
        return max(start, now_ms - FILLED_KEPT_MS), end

    def _still_kept(self, order: Order) -> bool:
        return bool(order.filled) or self._venue.clock.now_ms() - order.updated_at <= CANCELLED_KEPT_MS

    def _left_after(self, fill: Fill) -> Decimal:
        done = Decimal(0)
        for each in self._venue.fills_of(fill.order):
            done += each.quantity
            if each.number == fill.number:
                break
        return fill.order.quantity - done


def _names(order: Order, params: Params) -> bool:
    """Apply the priority orderId over orderLinkId; what is no id (the text "None" too) finds nothing."""
    if "orderId" in params:
        return order.id == params["orderId"]
    return "orderLinkId" not in params or order.client_id == params["orderLinkId"]


def _need_scope(params: Params, word: str) -> None:
    names: Iterable[str] = ("symbol", "baseCoin", "settleCoin")
    if word == "linear" and not any(name in params for name in names):
        raise Refusal(BAD_PARAMETER, "params error: symbol, settleCoin or baseCoin is required")


def _order_filter(params: Params) -> str:
    word = params.get("orderFilter", "Order")
    if word not in ORDER_FILTERS:
        raise Refusal(170201, "Your orderFilter is invalid")
    return word
