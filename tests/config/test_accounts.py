from config.loader import load_settings


def test_what_a_simulation_earned_is_never_taken_for_a_real_account():
    simulated = load_settings(environ={})
    live = load_settings(overrides=["exchanges.bitbank.endpoint=live"], environ={})
    testnet = load_settings(overrides=["exchanges.bybit.endpoint=testnet"], environ={})
    assert simulated.account("bitbank") == "bitbank"
    assert live.account("bitbank") == "bitbank@live"
    assert testnet.account("bybit") == "bybit@testnet"
