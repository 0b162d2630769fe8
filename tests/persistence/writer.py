"""A process that writes turns for ever and says, after each write, what must now survive its death.

`python -m tests.persistence.writer <database>` prints a line `<generation id> <tokens kept> <has ended>` each time a
write has returned.
"""

import asyncio
import sys
from pathlib import Path

from gpt2svc.persistence.database import Database
from tests.persistence.turns import completed, new_turn, tokens

NUM_WINDOWS = 5


def text(seq: int) -> str:
    return f" слово{seq}"


async def write_turn(database: Database) -> None:
    turn = await new_turn(database)
    generation_id = turn.generation.id
    print(generation_id, 0, 0, flush=True)
    for first in range(1, 3 * NUM_WINDOWS, 3):
        window = tokens(*(text(seq) for seq in range(first, first + 3)), first_seq=first)
        await database.write(lambda uow, window=window: uow.generations.append_tokens(generation_id, window))
        print(generation_id, window[-1].seq, 0, flush=True)
    result = completed("".join(text(seq) for seq in range(1, 3 * NUM_WINDOWS + 1)))
    await database.write(lambda uow: uow.generations.finish(generation_id, result))
    print(generation_id, 3 * NUM_WINDOWS, 1, flush=True)


async def main(path: Path) -> None:
    async with Database(path, lock_timeout_s=30) as database:
        await database.write(lambda uow: uow.generations.interrupt_active())
        while True:
            await write_turn(database)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
