# Which outcomes the agent keeps for repetitions.
unit_test(agent_outcome SOURCES agent_outcome_test.c http_help.c LIBS agent_rooms)
