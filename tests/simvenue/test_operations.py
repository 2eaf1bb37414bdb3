"""Every wire names what a request asks for by the same words, so that a fault can be aimed."""

import pytest
from aiohttp.test_utils import make_mocked_request

from simvenue.answer_faults import OPERATIONS
from simvenue.server import VenueServer

NAMED = {
    "bybit": {
        "place": ["POST /v5/order/create"],
        "cancel": ["POST /v5/order/cancel"],
        "cancel_all": ["POST /v5/order/cancel-all"],
        "order": [
            "GET /v5/order/realtime?category=spot&orderId=1",
            "GET /v5/order/realtime?category=spot&orderLinkId=a",
            "GET /v5/order/history?category=spot&orderLinkId=a",
        ],
        "open_orders": [
            "GET /v5/order/realtime?category=spot",
            "GET /v5/order/realtime?category=spot&openOnly=0&orderId=",
        ],
        "order_history": ["GET /v5/order/history?category=spot", "GET /v5/order/realtime?category=spot&openOnly=1"],
        "fills": ["GET /v5/execution/list?category=spot&orderId=1"],
        "balances": ["GET /v5/account/wallet-balance?accountType=UNIFIED"],
        "positions": ["GET /v5/position/list?category=linear&settleCoin=USDT"],
        "collateral": [],
        "ticker": ["GET /v5/market/tickers?category=spot"],
        "book": ["GET /v5/market/orderbook?category=spot&symbol=BTCUSDT"],
        "candles": ["GET /v5/market/kline?category=spot"],
        "trades": ["GET /v5/market/recent-trade?category=spot"],
        "instruments": ["GET /v5/market/instruments-info?category=spot"],
        "status": ["GET /v5/system/status"],
        "time": ["GET /v5/market/time"],
        "key": ["GET /v5/user/query-api"],
        "fees": ["GET /v5/account/fee-rate?category=spot"],
        "other": ["GET /v5/account/info", "POST /v5/order/disconnected-cancel-all", "GET /nowhere"],
    },
    "bitbank": {
        "place": ["POST /v1/user/spot/order"],
        "cancel": ["POST /v1/user/spot/cancel_order"],
        "cancel_all": ["POST /v1/user/spot/cancel_orders"],
        "order": ["GET /v1/user/spot/order?pair=btc_jpy&order_id=1", "POST /v1/user/spot/orders_info"],
        "open_orders": ["GET /v1/user/spot/active_orders?pair=btc_jpy"],
        "order_history": [],
        "fills": ["GET /v1/user/spot/trade_history?pair=btc_jpy"],
        "balances": ["GET /v1/user/assets"],
        "positions": ["GET /v1/user/margin/positions"],
        "collateral": ["GET /v1/user/margin/status"],
        "ticker": ["GET /btc_jpy/ticker", "GET /tickers", "GET /tickers_jpy"],
        "book": ["GET /btc_jpy/depth"],
        "candles": ["GET /btc_jpy/candlestick/1min/20260105"],
        "trades": ["GET /btc_jpy/transactions", "GET /btc_jpy/transactions/20260105"],
        "instruments": ["GET /spot/pairs", "GET /v1/spot/pairs"],
        "status": ["GET /v1/spot/status", "GET /btc_jpy/circuit_break_info"],
        "time": [],
        "key": [],
        "fees": [],
        "other": ["GET /v1/user/withdrawal_history", "GET /nowhere", "GET /"],
    },
    "bitflyer": {
        "place": ["POST /v1/me/sendchildorder"],
        "cancel": ["POST /v1/me/cancelchildorder"],
        "cancel_all": ["POST /v1/me/cancelallchildorders"],
        "order": [
            "GET /v1/me/getchildorders?product_code=BTC_JPY&child_order_acceptance_id=JRF1",
            "GET /v1/me/getchildorders?product_code=BTC_JPY&child_order_id=JOR1",
        ],
        "open_orders": ["GET /v1/me/getchildorders?product_code=BTC_JPY&child_order_state=ACTIVE"],
        "order_history": [
            "GET /v1/me/getchildorders?product_code=BTC_JPY",
            "GET /v1/me/getchildorders?product_code=BTC_JPY&child_order_state=COMPLETED",
        ],
        "fills": ["GET /v1/me/getexecutions?product_code=BTC_JPY"],
        "balances": ["GET /v1/me/getbalance"],
        "positions": ["GET /v1/me/getpositions?product_code=FX_BTC_JPY"],
        "collateral": ["GET /v1/me/getcollateral", "GET /v1/me/getcollateralaccounts"],
        "ticker": ["GET /v1/getticker", "GET /v1/ticker?product_code=BTC_JPY"],
        "book": ["GET /v1/getboard", "GET /v1/board"],
        "candles": [],
        "trades": ["GET /v1/getexecutions", "GET /v1/executions"],
        "instruments": ["GET /v1/getmarkets", "GET /v1/markets/usa"],
        "status": ["GET /v1/gethealth", "GET /v1/getboardstate"],
        "time": [],
        "key": ["GET /v1/me/getpermissions"],
        "fees": ["GET /v1/me/gettradingcommission?product_code=BTC_JPY"],
        "other": ["GET /v1/getfundingrate", "GET /v1/me/getbalancehistory", "GET /nowhere"],
    },
    "okcoinjp": {
        "place": ["POST /api/v5/trade/order", "POST /api/v5/trade/batch-orders"],
        "cancel": ["POST /api/v5/trade/cancel-order"],
        "cancel_all": ["POST /api/v5/trade/cancel-batch-orders"],
        "order": ["GET /api/v5/trade/order?instId=BTC-JPY&clOrdId=a"],
        "open_orders": ["GET /api/v5/trade/orders-pending"],
        "order_history": [
            "GET /api/v5/trade/orders-history?instType=SPOT",
            "GET /api/v5/trade/orders-history-archive?instType=SPOT",
        ],
        "fills": ["GET /api/v5/trade/fills", "GET /api/v5/trade/fills-history?instType=SPOT"],
        "balances": ["GET /api/v5/account/balance"],
        "positions": [],
        "collateral": [],
        "ticker": ["GET /api/v5/market/ticker?instId=BTC-JPY", "GET /api/v5/market/tickers?instType=SPOT"],
        "book": ["GET /api/v5/market/books?instId=BTC-JPY", "GET /api/v5/market/books-full?instId=BTC-JPY"],
        "candles": ["GET /api/v5/market/candles?instId=BTC-JPY", "GET /api/v5/market/history-candles?instId=BTC-JPY"],
        "trades": ["GET /api/v5/market/trades?instId=BTC-JPY"],
        "instruments": ["GET /api/v5/public/instruments?instType=SPOT", "GET /api/v5/account/instruments"],
        "status": [],
        "time": ["GET /api/v5/public/time"],
        "key": ["GET /api/v5/account/config"],
        "fees": ["GET /api/v5/account/trade-fee?instType=SPOT"],
        "other": ["POST /api/v5/trade/cancel-all-after", "GET /api/v5/account/bills", "GET /nowhere"],
    },
}  # fmt: skip
PUBLIC = ("ticker", "book", "candles", "trades", "status", "time")


@pytest.mark.parametrize("exchange", NAMED)
def test_a_wire_names_its_requests(exchange: str) -> None:
    wire = VenueServer.build(exchange, clock="stepped").wire
    assert tuple(NAMED[exchange]) == OPERATIONS
    for operation, requests in NAMED[exchange].items():
        for text in requests:
            method, _, target = text.partition(" ")
            request = make_mocked_request(method, target)
            assert wire.operation(request, b"{}") == operation, text
            if operation not in ("instruments", "other"):
                assert wire.needs_key(request) == (operation not in PUBLIC), text
