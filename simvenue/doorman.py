"""What a venue checks before it accepts an order: shape, then money. Raises Rejection, changes nothing."""

from decimal import Decimal

from simvenue.accounts import ZERO, fee_of, quote_leg, reserve_of
from simvenue.engine import Engine
from simvenue.margin import Margin
from simvenue.market import Market
from simvenue.values import Order, OrderRequest, Pair, Rejection, VenueSpec, plain


def check_shape(
    request: OrderRequest, pair: Pair, market: Market, spec: VenueSpec, band: Decimal | None = None
) -> None:
    """Check lot, tick, size, notional, price band, number of open orders and the state of the market.

    `band` stands in for the venue's own price band.
    """
    quantity, price = request.quantity, request.price
    if quantity is not None:
        _check_quantity(quantity, request.type, pair)
    elif request.quote_budget is None or request.type != "market" or request.side != "buy":
        raise ValueError("an order needs a quantity; only a market buy may have a quote budget instead")
    if request.type == "limit":
        if price is None:
            raise ValueError("a limit order needs a price")
        if price <= 0 or price % pair.tick:
            raise Rejection("off_tick", f"price {plain(price)} is not a multiple of {plain(pair.tick)}")
        band = spec.price_band if band is None else band
        if band is not None and abs(price - market.last) > market.last * band:
            raise Rejection("price_band", f"price {plain(price)} is too far from {plain(market.last)}")
    elif market.state == "closed":
        raise Rejection("closed", "no market order while nothing trades")
    worth = request.quote_budget
    if quantity is not None:
        worth = quantity * (price if price is not None else market.last)
    if pair.min_notional is not None and worth is not None and worth < pair.min_notional:
        raise Rejection("below_min_notional", f"{plain(worth)} is below {plain(pair.min_notional)}")
    if spec.max_open_orders is not None and len(market.resting) >= spec.max_open_orders:
        raise Rejection("too_many_orders", f"{spec.max_open_orders} rest already")


def _check_quantity(quantity: Decimal, order_type: str, pair: Pair) -> None:
    if quantity < pair.min_quantity:
        raise Rejection("too_small", f"quantity {plain(quantity)} is below {plain(pair.min_quantity)}")
    if quantity % pair.lot:
        raise Rejection("off_lot", f"quantity {plain(quantity)} is not a multiple of {plain(pair.lot)}")
    caps = [pair.max_quantity, pair.max_market_quantity if order_type == "market" else None]
    for cap in caps:
        if cap is not None and quantity > cap:
            raise Rejection("too_large", f"quantity {plain(quantity)} is above {plain(cap)}")


def check_money(order: Order, pair: Pair, market: Market, engine: Engine, margin: Margin) -> None:
    """Check that a spot order can pay, fees and rounding included, or that a perpetual has its margin."""
    if pair.kind == "perpetual":
        _check_margin(order, pair, market, margin)
        return
    asset = pair.quote if order.side == "buy" else pair.base
    need = spending(order, pair, engine)
    have = margin.available(asset)
    if need > have:
        raise Rejection("insufficient_funds", f"needs {plain(need)} {asset}, has {plain(have)}")


def spending(order: Order, pair: Pair, engine: Engine) -> Decimal:
    """Give what a spot order may take out of free: of quote for a buy, of base for a sale."""
    taken = [] if order.time_in_force == "post_only" else engine.preview(order)
    buying = order.side == "buy"
    asset = pair.quote if buying else pair.base
    need, rest = ZERO, order.remaining
    for price, quantity in taken:
        fee, currency = fee_of(pair, order.side, price, quantity, maker=False)
        need += quote_leg(pair, order.side, price, quantity) if buying else quantity
        need += max(ZERO, fee) if currency == asset else ZERO
        rest -= quantity
    if order.quote_budget is not None and not taken:
        raise Rejection("too_small", f"{plain(order.quote_budget)} buys less than one lot")
    if order.price is None:
        return need
    if rest:
        need += order.price * rest if buying else rest
        need += reserve_of(pair, order.side, order.price, rest, maker=True)[1]
    # the venue first sets price x quantity aside, however good the price that it then finds
    return max(need, order.price * order.quantity if buying else order.quantity)


def _check_margin(order: Order, pair: Pair, market: Market, margin: Margin) -> None:
    price = order.price if order.price is not None else market.last
    more = margin.in_use(pair.symbol, order, price) - margin.in_use(pair.symbol)
    if more <= 0:  # it reduces: always allowed
        return
    fee, _ = fee_of(pair, order.side, price, order.quantity, maker=False)
    spare = margin.spare(pair.quote)
    if more + fee > spare:
        raise Rejection("insufficient_funds", f"needs {plain(more + fee)} {pair.quote} margin, has {plain(spare)}")
