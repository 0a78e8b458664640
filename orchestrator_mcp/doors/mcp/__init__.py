"""The agents' door: the tools, and the three transports that carry them.

What agents use: `tools` says which tools there are and `toolbox` what they do, `manual` holds every word of them, and
the modules `…answers` what they answer; `resources`, `prompts` and `tasks` are the rest of the protocol.
What carries it: `transports` over HTTP; over standard streams `bridge`, which joins an orchestrator, with `client_side`
for the client that stays while orchestrators come and go. `inside` alone knows private names of the SDK.
"""
