"""Responses of /v1/responses; conversations of a kind"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261121_responses"
down_revision: str | None = "20261121_api_keys"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ID = sa.String(length=31)
TIME = sa.BigInteger()  # microseconds since 1970, UTC


def upgrade() -> None:
    op.drop_index(op.f("ix_conversations_owner_updated_at_id"), "conversations")
    with op.batch_alter_table("conversations") as table:
        table.add_column(sa.Column("kind", sa.String(length=16), nullable=False, server_default="chat"))
        table.create_check_constraint(op.f("ck_conversations_kind"), "kind IN ('chat', 'response')")
    op.create_index(
        op.f("ix_conversations_owner_kind_updated_at_id"), "conversations", ["owner", "kind", "updated_at", "id"]
    )
    op.create_table(
        "responses",
        sa.Column("id", ID, nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("generation_id", ID, nullable=False),
        sa.Column("previous_response_id", ID, nullable=True),
        sa.Column("input", sa.JSON(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name=op.f("fk_responses_conversation_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_responses")),
        sa.UniqueConstraint("conversation_id", name=op.f("uq_responses_conversation_id")),
    )


def downgrade() -> None:
    # NOTE: spelt out, since nothing cascades while a migration runs.
    op.execute(
        "DELETE FROM token_chunks WHERE generation_id IN (SELECT id FROM generations"
        " WHERE conversation_id IN (SELECT id FROM conversations WHERE kind = 'response'))"
    )
    op.execute(
        "DELETE FROM idempotency_keys WHERE conversation_id IN (SELECT id FROM conversations WHERE kind = 'response')"
    )
    op.execute(
        "DELETE FROM generations WHERE conversation_id IN (SELECT id FROM conversations WHERE kind = 'response')"
    )
    op.execute("DELETE FROM messages WHERE conversation_id IN (SELECT id FROM conversations WHERE kind = 'response')")
    op.drop_table("responses")
    op.execute("DELETE FROM conversations WHERE kind = 'response'")
    op.drop_index(op.f("ix_conversations_owner_kind_updated_at_id"), "conversations")
    with op.batch_alter_table("conversations") as table:
        table.drop_constraint(op.f("ck_conversations_kind"), type_="check")
        table.drop_column("kind")
    op.create_index(op.f("ix_conversations_owner_updated_at_id"), "conversations", ["owner", "updated_at", "id"])
