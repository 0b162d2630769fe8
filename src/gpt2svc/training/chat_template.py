"""The Jinja template that goes with a model: it renders what `training/rows.py` makes of a conversation."""

CHAT_TEMPLATE = (
    "{%- for message in messages if message['role'] == 'system' -%}{{ message['content'] | trim }}{{ '\\n' }}"
    "{%- endfor -%}"
    "{%- for message in messages if message['role'] != 'system' -%}"
    "{%- if not loop.first -%}{{ '\\n' }}{%- endif -%}"
    "{{ 'User:' if message['role'] == 'user' else 'Assistant:' }} {{ message['content'] | trim }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '\\nAssistant:' }}{%- endif -%}"
)
