import pytest

from gpt2svc.errors import InvalidInputError, NotFoundError
from tests.fakes.chat_stack import ChatStack


async def test_a_conversation_keeps_what_it_was_created_with(stack: ChatStack) -> None:
    created = await stack.conversations.create("ann", title=" Мандри ", model="other", settings={"max_length": 20})
    assert (created.title, created.model, dict(created.settings)) == ("Мандри", "other", {"max_new_tokens": 20})
    assert await stack.conversations.get(created.id, "ann") == created
    page = await stack.conversations.list("ann")
    assert page.items == (created,)
    assert (await stack.conversations.list("bob")).items == ()


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"title": " "}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"title": "a\x00"}, "title"),
        ({"settings": {"top_p": 2}}, "settings.top_p"),
        ({"settings": {"max_length": 5, "max_new_tokens": 5}}, "settings.max_length"),
    ],
)
async def test_bad_values_are_refused_by_field(stack: ChatStack, given: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        await stack.conversations.create("", **given)  # type: ignore[arg-type]
    assert refusal.value.field == field
    created = await stack.conversations.create("")
    with pytest.raises(InvalidInputError) as refusal:
        await stack.conversations.update(created.id, "", given)
    assert refusal.value.field == field


async def test_an_unknown_model_is_not_found(stack: ChatStack) -> None:
    with pytest.raises(NotFoundError):
        await stack.conversations.create("", model="no-such")


async def test_a_model_without_a_place_may_be_chosen(stack: ChatStack) -> None:
    stack.pool.refuse("other")
    assert (await stack.conversations.create("", model="other")).model == "other"


async def test_update_changes_what_is_given_and_merges_settings(stack: ChatStack) -> None:
    created = await stack.conversations.create("", title="A", settings={"top_k": 5, "max_new_tokens": 200})
    changed = await stack.conversations.update(
        created.id, "", {"settings": {"top_k": None, "temperature": 1, "min_new_tokens": 150}}
    )
    assert changed.title == "A"
    assert dict(changed.settings) == {"max_new_tokens": 200, "temperature": 1.0, "min_new_tokens": 150}
    changed = await stack.conversations.update(created.id, "", {"title": None, "settings": None})
    assert (changed.title, dict(changed.settings)) == (None, {})
    with pytest.raises(InvalidInputError, match="owner"):
        await stack.conversations.update(created.id, "", {"owner": "bob"})


async def test_deleting_cancels_the_reply_in_progress_first(stack: ChatStack) -> None:
    stack.engine.hold_at(1)
    turn = await stack.converse()
    conversation_id = (await stack.generation(turn)).conversation_id
    viewer = stack.supervisor.events(turn.generation_id, "")
    await anext(viewer)
    await stack.conversations.delete(conversation_id, "")
    assert stack.engine.aborted == [turn.generation_id]
    assert (await anext_last(viewer)).data["status"] == "cancelled"
    with pytest.raises(NotFoundError):
        await stack.conversations.get(conversation_id, "")
    with pytest.raises(NotFoundError):
        await stack.generation(turn)


async def test_other_owners_see_nothing(stack: ChatStack) -> None:
    created = await stack.conversations.create("ann")
    for call in (
        stack.conversations.get(created.id, "bob"),
        stack.conversations.update(created.id, "bob", {"title": "x", "settings": {"top_k": 1}}),
        stack.conversations.delete(created.id, "bob"),
        stack.conversations.messages(created.id, "bob"),
        stack.conversations.message(created.id, "msg_x", "bob"),
    ):
        with pytest.raises(NotFoundError):
            await call


async def test_a_message_can_be_read_alone(stack: ChatStack) -> None:
    stack.engine.say(" hello")
    turn = await stack.converse()
    await stack.supervisor.result(turn.generation_id, "")
    conversation_id = (await stack.generation(turn)).conversation_id
    message = await stack.conversations.message(conversation_id, turn.message_id, "")
    assert message.content == "hello"


async def anext_last(viewer):  # type: ignore[no-untyped-def]
    return [event async for event in viewer][-1]
