"""Trader and venue in one process on a virtual clock: any seed is a schedule of faults, and replays to the letter."""
