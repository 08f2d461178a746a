"""Makes `twistd kraft` and `--reactor kraft` known. Imports nothing of kraft: listing plugins stays cheap."""

from twisted.application.reactors import Reactor
from twisted.application.service import ServiceMaker

kraft = ServiceMaker("kraft", "kraft.tap", "Distributed key-value store on Raft", "kraft")
kraft_reactor = Reactor(
    "kraft", "kraft.process.reactor", "epoll(7) based reactor with less work per event; the default of kraft."
)
