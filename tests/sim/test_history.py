"""What `channels.history.fetch` remembers of the time its client was away."""

from bridge.wire import encoding
from tests.sim.client import Party, opened, returning, running, until_true

CONFLICTS = {"n": 10, "type": ["rpt"], "tag": ["conflict"]}


async def test_conflicts_of_the_time_away_are_listed_newest_first() -> None:
    """The evidence a bridge needs to tell a refusal from a timeout whose report was lost."""
    async with running() as node, opened(node, both={"timeout_accept": 150}) as pair:
        pair.responder.is_signing = False
        channel_id, fsm_id = pair.channel_id, pair.fsm_id("initiator")
        party = pair.initiator
        for count, code in ((1, 4), (2, 3)):
            await party.pay(5)
            asked = await pair.responder.until("sign.update_ack", count)
            assert asked is not None
            party.cut()
            await party.until_closed()
            if code == 4:
                assert await pair.responder.ask("update_ack", {"error": 4}) == "ok"
            await until_true(lambda: node.registry.alive[1].half_signed is None)  # each question would delay it
            party = await Party.open(node, returning("initiator", channel_id, fsm_id))
            await party.until("fsm_up")
        found = await party.ask("history.fetch", CONFLICTS)
        assert [entry["info"]["error_code"] for entry in found] == [3, 4]
        assert encoding.decode(found[0]["info"]["error_msg"], "ba") == b"timeout"
        assert await party.ask("history.fetch", {"n": 20}) == "ok", "the window reaches the disconnect"
        await party.close()


async def test_without_a_disconnect_the_window_is_a_list() -> None:
    """The bare "ok" comes only with the entry of a disconnect."""
    async with running() as node, opened(node) as pair:
        newest = await pair.initiator.ask("history.fetch", {"n": 1})
        assert [(entry["type"], entry["tag"]) for entry in newest] == [("report", "update")]
