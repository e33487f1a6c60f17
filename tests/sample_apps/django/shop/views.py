from django.shortcuts import render

from shop.models import Visit

VERSION = "1"


def index(request):
    Visit.objects.create()
    return render(request, "shop/index.html", {"version": VERSION, "visits": Visit.objects.count()})
