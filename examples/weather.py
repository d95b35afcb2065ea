"""A tool of your own: an ordinary function; its signature and docstring tell the model how to call it.

    python examples/weather.py "Do I need an umbrella in Hangzhou tomorrow?"

It uses the model server that is there; another one is named by QIANDA_SERVER and QIANDA_MODEL.
"""

import sys

from qianda import Agent, ToolError, tool

FORECASTS = {"hangzhou": ["light rain, 18 °C", "sunny, 22 °C"], "berlin": ["fog, 7 °C", "sunny, 11 °C"]}


@tool
def weather(city: str, days: int = 1) -> str:
    """Weather forecast.

    Args:
        city: name of the city, in English.
        days: how many days ahead, 1 or 2.
    """
    forecast = FORECASTS.get(city.lower())
    if forecast is None or not 1 <= days <= len(forecast):
        raise ToolError(f"There is a forecast for {', '.join(FORECASTS)}, for 1 or 2 days")
    return forecast[days - 1]


agent = Agent(tools=[weather], instructions="Answer in one sentence.")
result = agent.run_sync(" ".join(sys.argv[1:]) or "Do I need an umbrella in Hangzhou tomorrow?")
print(result.output)
